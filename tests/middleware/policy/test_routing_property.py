"""policy.paths against Starlette's router: no spelling of a protected path that is served escapes its policy."""

import asyncio
import contextlib
import posixpath
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route, Router
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keyfob.policy import paths
from keyfob.policy.domains import Domains, parse_domain
from keyfob.policy.paths import AmbiguousPath, find_path, fold

UUID = "123e4567-e89b-12d3-a456-426614174000"
SECRET = "the secret"  # noqa: S105 - what a protected endpoint answers with
HOST = "money.example.com"

# Where something secret is served, and so what the applications protect. The rest of the host is another application.
PROTECTED = [
    "/admin",
    "/api/keys",
    "/files/secret",
    "/files/plan.txt",
    "/items/7",
    "/prices/1.5",
    f"/devices/{UUID}",
    "/Reports/*",
    "/pages/*/edit",
    "/careless/vault",
    "/café",
]
# Paths at which it is served, to make other spellings of.
TARGETS = [
    "/admin",
    "/admin/users/5",
    "/api/keys/a/b",
    "/files/secret/plan.txt",
    "/files/plan.txt",
    "/items/7",
    "/prices/1.5",
    f"/devices/{UUID}",
    "/Reports/2026",
    "/pages/home/edit",
    "/careless/vault",
    "/careless/vault/gold",
    "/café",
]


# --- The app ----------------------------------------------------------------------------------------------------------


async def secret(_: Request) -> Response:
    return PlainTextResponse(SECRET)


async def public(_: Request) -> Response:
    return PlainTextResponse("nothing of note")


def secret_for(wanted: object) -> Callable[[Request], Any]:
    """An endpoint with one parameter, of which one value is secret."""

    async def endpoint(request: Request) -> Response:
        [value] = request.path_params.values()
        return await (secret(request) if str(value) == str(wanted) else public(request))

    return endpoint


async def careless(request: Request) -> Response:
    """An app behind the app: it decodes again, and opens files as Windows would, or macOS."""
    read = unquote(request.path_params["path"]).partition("?")[0].partition("#")[0].replace("\\", "/")
    segments = [each.partition(";")[0].rstrip(". ") or each for each in fold(read).split("/")]
    names = posixpath.normpath("/" + "/".join(segments)).lstrip("/").split("/")
    return await (secret(request) if names[0] == "vault" else public(request))


def make_routes(files: Path) -> list[BaseRoute]:
    return [
        Route("/admin", secret),
        Mount("/admin", routes=[Route("/users/{number:int}", secret)]),
        Mount("/api", routes=[Route("/keys/{key:path}", secret), Route("/{name}", public)]),
        Mount("/files", StaticFiles(directory=files, html=True)),
        Route("/items/{number:int}", secret_for(7)),
        Route("/prices/{price:float}", secret_for(1.5)),
        Route("/devices/{device:uuid}", secret_for(UUID)),
        Route("/Reports/{year}", secret),
        Route("/pages/{name}/edit", secret),
        Route("/careless/{path:path}", careless),
        Route("/café", secret),
        Route("/{path:path}", public),
    ]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    (folder / "secret").mkdir()
    for name in ("plan.txt", "secret/plan.txt", "secret/index.html"):
        (folder / name).write_text(SECRET)
    (folder / "index.html").write_text("nothing of note")
    return folder


# --- Requests ---------------------------------------------------------------------------------------------------------


class Asked(NamedTuple):
    """A request target as it stands on the wire, at a server with a prefix, for an app below a mount or not.

    `keeps_prefix`: this server puts its prefix into `path`, as uvicorn does. `has_raw`: it hands `raw_path` over.
    """

    raw: str
    root: str = ""
    mount: str = ""
    keeps_prefix: bool = True
    has_raw: bool = True

    def make_scope(self) -> dict[str, Any]:
        """As uvicorn makes it, or a server that leaves the prefix out."""
        before = self.root if self.keeps_prefix else ""
        return {
            "type": "http",
            "method": "GET",
            "scheme": "https",
            "server": (HOST, 443),
            "path": before + unquote(self.raw),
            "root_path": self.root,
            "raw_path": (before + self.raw).encode("ascii") if self.has_raw else None,
            "query_string": b"",
            "headers": [(b"host", HOST.encode())],
        }


LOOK_ALIKES = {
    "/": ["//", "/./", "/x/../", "%2f", "%5C", "\\", ";/", "/;x/", "/%2e/", "\N{FULLWIDTH SOLIDUS}", "/.;/"],
    ".": ["..", "%2E", "\N{FULLWIDTH FULL STOP}", "\N{ONE DOT LEADER}"],
    "i": ["\N{LATIN SMALL LETTER DOTLESS I}", "I", "\N{FULLWIDTH LATIN SMALL LETTER I}"],
    "7": ["07", "7.0", "\N{FULLWIDTH DIGIT SEVEN}"],
    "1": ["01", "001"],
    "5": ["50", "05"],
    "-": ["", "%2D"],
    "é": ["e\N{COMBINING ACUTE ACCENT}", "É"],
    "": [
        "",
        ".",
        " ",
        "\n",
        "\x00",
        "/",
        "\N{ZERO WIDTH JOINER}",
        "\N{SOFT HYPHEN}",
        "?",
        "#",
        ";x",
        "..",
        "::$DATA",
        "%",
    ],
}


@st.composite
def spellings(draw: st.DrawFn) -> str:
    """A target with some of its characters written in another way, percent-encoded once or twice."""
    target = draw(st.sampled_from(TARGETS))
    # An index apart from the others stands for the end.
    places = draw(st.sets(st.integers(0, len(target)), max_size=3))
    written = []
    for at, sign in enumerate([*target, ""]):
        ways = [*LOOK_ALIKES.get(sign, []), sign.swapcase(), f"%{ord(sign):02x}" if sign and sign.isascii() else ""]
        chosen = draw(st.sampled_from(ways)) if at in places else sign
        written.append(chosen)
    text = "".join(written)
    return draw(st.sampled_from([text, text, "/x/.." + text, text + "/", text.upper(), text.replace("%", "%25")]))


def put_on_wire(text: str) -> str:
    """What a client has to encode, encoded; what it has encoded before stays."""
    return quote(text, safe="/%;:@!$&'()*+,=~-._\\|[]")


ASKED = st.builds(
    Asked,
    spellings().map(put_on_wire),
    mount=st.just(""),
    root=st.sampled_from(["", "", "/app", "/app/v1"]),
    keeps_prefix=st.booleans(),
    has_raw=st.booleans(),
)
BELOW = st.builds(
    lambda asked, mount: asked._replace(raw=mount + asked.raw, mount=mount), ASKED, st.sampled_from(["/in", "/in/ner"])
)
# The prefix, or a part of it, once more before the path: not every server takes off the same.
PREFIXED = st.builds(
    lambda asked, more: asked._replace(raw=more + asked.raw), ASKED, st.sampled_from(["/app", "/x", "/"])
)
EVERY = ASKED | BELOW | PREFIXED


# --- The property -----------------------------------------------------------------------------------------------------

Judge = Callable[[Mapping[str, Any], str], str | None]


def judge(scope: Mapping[str, Any], prefix: str) -> str | None:
    """As the gate does it: what covers the path; None if nothing does, and then the gate refuses."""
    rows = [(parse_domain(HOST), ""), *((parse_domain(f"{HOST}{prefix}{path}"), path) for path in PROTECTED)]
    found = Domains(rows).at_host(HOST)
    return None if found is None else found.find(find_path(scope))


class Watched:
    """An app with a judge at its door, who keeps the verdict and lets everybody in."""

    def __init__(self, app: ASGIApp, judge: Judge, prefix: str) -> None:
        self.app, self.judge, self.prefix = app, judge, prefix
        self.verdict: str | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self.verdict = self.judge(scope, self.prefix)
        except AmbiguousPath:
            self.verdict = "refused"
        await self.app(scope, receive, send)


def serve(app: ASGIApp, scope: dict[str, Any]) -> str:
    """The body of the answer to a client that stays until it has it."""
    sent: list[bytes] = []

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise RuntimeError("the client stays")

    async def send(message: Message) -> None:
        sent.append(message.get("body", b""))

    async def call() -> None:
        # StaticFiles leaves the answer to a missing file to the application around it.
        with contextlib.suppress(HTTPException):
            await app(scope, receive, send)

    asyncio.run(call())
    return b"".join(sent).decode()


def stand_before(routes: list[BaseRoute], judge: Judge, root: str, mount: str) -> tuple[Watched, ASGIApp]:
    """An app with its judge, alone or below a mount."""
    watched = Watched(Router(routes), judge, root + mount)
    return watched, Router([Mount(mount, watched), Route("/{path:path}", public)]) if mount else watched


def escapes(asked: Asked, files: Path, judge: Judge = judge) -> bool:
    """Whether the secret is served, though the judge took the request for one to the open application."""
    watched, app = stand_before(make_routes(files), judge, asked.root, asked.mount)
    return serve(app, asked.make_scope()) == SECRET and watched.verdict == ""


QUIET = settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


# Without looking for a shorter one of what is found.
SEARCH = settings(QUIET, max_examples=2000, phases=[Phase.generate], derandomize=True, database=None)


@QUIET
@given(EVERY)
def test_no_spelling_that_the_router_serves_escapes_its_policy(files: Path, asked: Asked) -> None:
    """Whatever the server does with its prefix, and whether the gate stands before the app or within a mount."""
    assert not escapes(asked, files)


@pytest.mark.parametrize("root", ["", "/app"])
@pytest.mark.parametrize("mount", ["", "/in"])
@pytest.mark.parametrize("target", TARGETS)
def test_the_protected_paths_are_served_and_judged_as_such(files: Path, target: str, mount: str, root: str) -> None:
    """Otherwise the property above would say nothing."""
    watched, app = stand_before(make_routes(files), judge, root, mount)
    assert serve(app, Asked(mount + quote(target), root).make_scope()) == SECRET
    assert watched.verdict in PROTECTED


# --- Weaker judges ----------------------------------------------------------------------------------------------------


def starts_with(scope: Mapping[str, Any], prefix: str, path: str) -> str | None:
    """The usual homemade rule."""
    return next((rule for rule in PROTECTED if path.startswith(prefix + rule.rstrip("*"))), "")


def _judge_path_alone(scope: Mapping[str, Any], prefix: str) -> str | None:
    return judge({"path": scope["path"], "raw_path": scope["raw_path"]}, prefix)


def _judge_raw_path(scope: Mapping[str, Any], prefix: str) -> str | None:
    return starts_with(scope, prefix, (scope["raw_path"] or b"").decode("ascii"))


def _judge_by_beginning(scope: Mapping[str, Any], prefix: str) -> str | None:
    return starts_with(scope, prefix, find_path({**scope, "raw_path": None}))


def _judge_exactly(scope: Mapping[str, Any], prefix: str) -> str | None:
    path = find_path(scope)
    return next((rule for rule in PROTECTED if path == prefix + rule), "")


def _judge_normalised(scope: Mapping[str, Any], prefix: str) -> str | None:
    """Cleans the path as a file system would, and then asks the real rules."""
    path = posixpath.normpath("/" + find_path({**scope, "raw_path": None}).lstrip("/"))
    return judge({"path": path}, prefix)


WEAKER = [_judge_path_alone, _judge_raw_path, _judge_by_beginning, _judge_exactly, _judge_normalised]


# Spellings that each get past some of them, whatever hypothesis comes up with.
KNOWN = [
    Asked("/%61dmin"),
    Asked("/admin%0A"),
    Asked("/admin/users/5"),
    Asked("/admin", root="/app", keeps_prefix=False),
    Asked("/app/admin", root="/app", keeps_prefix=False),
    Asked("/in/admin", mount="/in"),
    Asked("/pages/../edit"),
    Asked("/pages/x%2F../edit"),
    Asked("/files//secret/plan.txt"),
    Asked("/files/x/../secret/plan.txt"),
    Asked("/files/%2e/plan.txt", has_raw=False),
    Asked("/files/secret/"),
    Asked("/items/007"),
    Asked(f"/devices/{UUID.replace('-', '').upper()}"),
    Asked("/careless/VAULT"),
    Asked("/careless/vault%3Fx"),
    Asked("/careless/%2576ault"),
    Asked("/careless/vault%2E"),
    Asked("/careless/x%5C..%5Cvault"),
    Asked("/careless/%EF%BD%96ault"),
    Asked("/careless/vault;x=1"),
]


def test_no_known_spelling_escapes(files: Path) -> None:
    """Those that others have stumbled over."""
    assert [asked for asked in KNOWN if escapes(asked, files)] == []


@pytest.mark.parametrize("weaker", WEAKER, ids=lambda weaker: weaker.__name__.strip("_"))
def test_a_weaker_judge_is_caught(files: Path, weaker: Judge) -> None:
    """The property can fail: each of these shortcuts has a spelling that gets past it."""
    assert any(escapes(asked, files, weaker) for asked in KNOWN)


@pytest.mark.parametrize("weaker", [_judge_path_alone, _judge_raw_path, _judge_by_beginning])
def test_the_random_spellings_catch_a_weaker_judge(files: Path, weaker: Judge) -> None:
    """They are as good as those that are known."""
    assert find(EVERY, lambda asked: escapes(asked, files, weaker), settings=SEARCH)


def _remove_traps(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(paths, "find_doubt", lambda path: None)


def _remove_folding(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(paths, "fold", lambda path: path)


def _remove_prefix(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(paths, "_take_off", lambda root, path: path)


@pytest.mark.parametrize("remove", [_remove_traps, _remove_folding, _remove_prefix])
def test_every_rule_is_needed(files: Path, monkeypatch: pytest.MonkeyPatch, remove: Callable[..., None]) -> None:
    """Without it there is a spelling that escapes."""
    remove(monkeypatch)
    assert any(escapes(asked, files) for asked in KNOWN)
