#!/bin/sh
# Pins every requirement with its hashes and no index address. Needs uv; run by hand when pyproject.toml changes.
set -eu
cd "$(dirname "$0")/.."
compile() {
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
        --no-annotate --emit-build-options pyproject.toml requirements/build.in --extra cli --extra sso "$@"
}
compile --group budget -o requirements/run.txt
compile --extra geo --extra postgresql --group budget --group test --group lint --constraint requirements/run.txt -o requirements/test.txt
