# make run      the budget app behind your own keys, at https://localhost:8443
# make test     every test that this machine can run
# make check    formatting, lint and types
# make bench    what the check costs, as ratios
# make torture  kill -9, power failures and a failing Google, and whether an expense was lost
PYTHON ?= python3
VENV ?= .venv
HOST ?= 127.0.0.1
PORT ?= 8443
KEYFOB_HOME ?= .keyfob
TESTS ?= tests
export HOST PORT KEYFOB_HOME
BENCHMARKS ?=
TORTURE ?=

BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check --quiet install
INSTALL_PROJECT = $(PIP) --no-deps --no-build-isolation --editable .

.PHONY: run test check bench torture provider clean
.DELETE_ON_ERROR:

run: $(VENV)/run.stamp
	@$(BIN)/keyfob serve budget_app.app:app --home="$$KEYFOB_HOME" --host="$$HOST" --port="$$PORT"

test: $(VENV)/test.stamp
	$(BIN)/python -m pytest $(TESTS)

check: $(VENV)/test.stamp
	$(BIN)/ruff format --check middleware budget_app tests
	$(BIN)/ruff check middleware budget_app tests
	$(BIN)/mypy

bench: $(VENV)/test.stamp
	PYTHONPATH=tests $(BIN)/python tests/benchmarks $(BENCHMARKS)

torture: $(VENV)/test.stamp
	PYTHONPATH=tests:middleware:. $(BIN)/python tests/torture $(TORTURE)

# The certified provider of OpenID Connect that some tests log in with; it needs node and npm.
provider:
	npm ci --prefix tests/providers/node --ignore-scripts --no-audit --no-fund --loglevel=error

clean:
	rm -rf $(VENV)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "error: keyfob needs Python 3.11 or newer, and $(PYTHON) is not" >&2; \
	    echo "hint: name one, as in: make run PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/run.stamp: requirements/run.txt pyproject.toml | $(BIN)/python
	@echo "Installing into $(VENV) (once, about a minute)" >&2
	@$(PIP) --require-hashes -r requirements/run.txt
	@$(INSTALL_PROJECT)
	@touch $@

$(VENV)/test.stamp: requirements/test.txt pyproject.toml | $(BIN)/python
	@echo "Installing what the tests need into $(VENV)" >&2
	@$(PIP) --require-hashes -r requirements/test.txt
	@$(INSTALL_PROJECT)
	@touch $@
