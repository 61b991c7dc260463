"""The house: which room may use which, what is public, and that every closed set is closed."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import keyfob
from keyfob.errors import CertificateError, HeaderError, LoginError, Reason
from keyfob.login import desk, steps
from keyfob.refusal import WORDS
from servers import environment

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "middleware" / "keyfob"

# The picture of the plan: each room may import from itself and from the rooms named behind it, and from nothing else.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "addresses": set(),
    "tables": set(),
    "certificate": {"errors"},
    "inventory": {"errors", "certificate"},
    "request": {"errors", "addresses"},
    "sources": {"errors", "addresses", "certificate", "request"},
    "trust": {"errors", "tables", "certificate", "request"},
    "policy": {"errors", "addresses", "certificate", "request"},
    "audit": {"errors", "addresses", "certificate", "request", "policy"},
    "answer": set(),
    "refusal": {"errors", "policy", "answer"},
    "login": {"errors", "request", "policy", "answer"},
    "introduction": {"errors", "certificate", "request", "policy"},
    "callbacks": {"audit"},
    "gate": {"errors", "addresses", "request", "sources", "trust", "policy", "audit", "login"},
    "explanation": {"errors", "addresses", "certificate", "request", "sources", "trust", "policy", "gate"},
    "config": {
        "errors",
        "addresses",
        "tables",
        "certificate",
        "request",
        "sources",
        "trust",
        "policy",
        "audit",
        "gate",
        "inventory",
        "login",
    },
    "live": {"errors", "trust", "gate", "config", "login"},
    "door": {
        "errors",
        "addresses",
        "answer",
        "request",
        "policy",
        "audit",
        "refusal",
        "callbacks",
        "gate",
        "config",
        "live",
        "login",
    },
    "attendance": {"policy"},
    "asgi": {
        "errors",
        "request",
        "sources",
        "policy",
        "answer",
        "introduction",
        "callbacks",
        "gate",
        "door",
        "attendance",
    },
    "carriers": {"errors", "certificate"},
    "wsgi": {"request", "policy", "answer", "introduction", "callbacks", "gate", "door", "carriers"},
    "routing": {
        "errors",
        "certificate",
        "request",
        "policy",
        "answer",
        "refusal",
        "introduction",
        "gate",
        "config",
        "door",
    },
    "pki": {"errors", "certificate", "inventory"},
    "enrolment": {"errors", "certificate", "inventory", "pki", "introduction", ""},
    "server": {
        "errors",
        "carriers",
        "certificate",
        "request",
        "sources",
        "trust",
        "asgi",
        "inventory",
        "pki",
        "enrolment",
    },
    "cli": {
        "errors",
        "addresses",
        "policy",
        "config",
        "explanation",
        "inventory",
        "pki",
        "enrolment",
        "server",
        "",
    },
    "": {
        "errors",
        "certificate",
        "audit",
        "gate",
        "config",
        "live",
        "explanation",
        "introduction",
        "routing",
        "asgi",
    },
}

# Rooms that know nothing of frameworks, sockets or event loops.
CORE = {
    "errors",
    "addresses",
    "certificate",
    "request",
    "sources",
    "trust",
    "policy",
    "gate",
    "config",
    "audit",
    "answer",
    "refusal",
    "tables",
    "explanation",
}
NOT_IN_CORE = {"starlette", "uvicorn", "asyncio", "anyio", "socket", "ssl", "click", "psutil"}

PUBLIC = [
    "AccessMiddleware",
    "AuditRecord",
    "CertificateError",
    "CertificateRoute",
    "ClientCertificate",
    "ConfigError",
    "Device",
    "Gate",
    "Health",
    "KeyfobError",
    "MiddlewareMissing",
    "Reason",
    "Trace",
    "client_certificate",
    "explain",
    "health",
    "identity",
    "load_gate",
    "requires",
    "tls_client_auth",
]


def room_of(module: str) -> str:
    """`keyfob.trust.roots` is in the room `trust`; the package itself is the room without a name."""
    return module.removeprefix("keyfob").removeprefix(".").partition(".")[0]


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide which room they reach into"
            yield node.module or ""


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def room_of_file(path: Path) -> str:
    inside = path.relative_to(SOURCE)
    return "" if inside.name == "__init__.py" and len(inside.parts) == 1 else inside.parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_one_way(path: Path) -> None:
    """A room imports only from the rooms that stand before it in the plan."""
    room = room_of_file(path)
    reached = {room_of(name) for name in imports_of(path) if name.partition(".")[0] == "keyfob"}
    assert reached - {room} <= MAY_IMPORT[room]


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_the_core_knows_no_framework_socket_or_loop(path: Path) -> None:
    """What decides can be read, tested and reused without any server."""
    if room_of_file(path) in CORE:
        assert NOT_IN_CORE.isdisjoint(name.partition(".")[0] for name in imports_of(path))


def test_the_plan_itself_has_no_cycle() -> None:
    """The table above is an order: every room stands behind all that it may import."""
    settled: set[str] = set()
    while len(settled) < len(MAY_IMPORT):
        ready = {room for room, others in MAY_IMPORT.items() if room not in settled and others <= settled}
        assert ready, f"a cycle among {set(MAY_IMPORT) - settled}"
        settled |= ready


def test_the_budget_app_knows_keyfob_by_two_names() -> None:
    """The sample app shows that an app needs nothing but `client_certificate` and `identity`."""
    used = {
        (node.module, alias.name)
        for path in (ROOT / "budget_app").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "keyfob"
        for alias in node.names
    }
    assert used == {("keyfob", "client_certificate"), ("keyfob", "identity")}


def test_exported_names_are_exactly_these() -> None:
    """What is public is a promise; a new name here is a decision."""
    assert keyfob.__all__ == PUBLIC
    assert len(PUBLIC) <= 20
    assert all(hasattr(keyfob, name) for name in PUBLIC)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_assert_guards_anything(path: Path) -> None:
    """`python -O` takes assert statements out, and with them whatever they were meant to stop."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Assert)]


def test_every_reason_has_words_for_the_client() -> None:
    """No refusal is without a status, a title and advice."""
    assert set(WORDS) == set(Reason)


def test_every_certificate_error_has_its_own_reason() -> None:
    """The tree of errors and the reasons of this kind are the same list."""
    kinds = [
        kind for kind in (*CertificateError.__subclasses__(), *HeaderError.__subclasses__()) if kind != HeaderError
    ]
    about = ("certificate-", "peer-", "header-")
    assert {kind.reason for kind in kinds} == {reason for reason in Reason if reason.startswith(about)}
    assert len({kind.reason for kind in kinds}) == len(kinds)


def test_every_login_error_has_a_reason_of_logins() -> None:
    """Those of this kind are the same list, but for the one that is no error: nobody has logged in yet."""
    reasons = [kind.reason for kind in LoginError.__subclasses__()]
    about = ("login-", "session-", "token-")
    assert {*reasons, Reason.LOGIN_REQUIRED} == {reason for reason in Reason if reason.startswith(about)}
    assert len(set(reasons)) == len(reasons)


def test_every_address_of_the_logins_own_is_served() -> None:
    """What the desk takes for its own, the steps have an answer to; and each is told what methods it has."""
    assert set(steps._STATIONS) == {"", *desk._ALONE, *desk._OF_PROVIDERS}
    for station, (methods, _) in steps._STATIONS.items():
        assert bool(methods) is bool(station)
        assert "GET" in methods or not station


def test_only_what_carries_a_login_reads_or_writes() -> None:
    """The steps are the same on every server, and under a test."""
    carries = {"authorities.py", "carrying.py", "posting.py"}
    world = {"httpx", "smtplib", "socket", "ssl", "asyncio", "anyio", "concurrent", "sqlalchemy", "subprocess"}
    for path in (SOURCE / "login").rglob("*.py"):
        reached = world & {name.partition(".")[0] for name in imports_of(path)}
        assert bool(reached) is (path.name in carries), f"{path} uses {reached}"


def test_the_error_tree_is_drawn_as_it_is() -> None:
    """The drawing at the top of errors.py names every class of the module."""
    import keyfob.errors

    drawn = keyfob.errors.__doc__ or ""
    tree = ast.parse((SOURCE / "errors.py").read_text(encoding="utf-8"))
    classes = {node.name for node in tree.body if isinstance(node, ast.ClassDef)} - {"Reason", "Problem"}
    assert {name for name in classes if name not in drawn} == set()


def test_the_middleware_alone_needs_no_server_and_no_command() -> None:
    """Without the extras, all that `keyfob` offers works: it asks for cryptography, pydantic and starlette only."""
    extras = {"uvicorn", "httptools", "websockets", "click", "psutil", "openpyxl", "jinja2"}
    extras |= {"sqlalchemy", "psycopg", "segno", "joserfc", "authlib", "httpx"}
    # Each is imported when it is first asked for.
    script = f"import sys; from keyfob import *; from keyfob import wsgi; print(*sorted({extras!r} & set(sys.modules)))"
    said = subprocess.run([sys.executable, "-c", script], env=environment(), capture_output=True, text=True, check=True)
    assert said.stdout.strip() == ""
