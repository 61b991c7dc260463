"""Prefixes that a framework takes off a path, or writes into the scope: the rules see the path behind every one."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings  # type: ignore[import-untyped]
from fastapi import FastAPI
from litestar import Litestar, get
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Mount
from starlette.types import ASGIApp

from exchanges import make_scope
from frameworks.calls import CALLS
from frameworks.django_app import make as make_django
from frameworks.living import live_and_ask
from keyfob import AccessMiddleware
from keyfob.asgi import find_prefix

# Everything is open, but for one page. It can be asked for with its prefix, and by a proxy that has taken that off.
PREFIXED = """
source = { kind = "tls" }

[[root_certificates]]
name = "Test CA"
certificate = "ca.pem"
associated_hostnames = ["money.example.com"]

[[applications]]
name = "Site"
domain = "money.example.com"
policies = [{ name = "Everybody", decision = "bypass", include = [{ everyone = {} }] }]

[[applications]]
name = "Administration"
domain = "money.example.com/api/admin"
policies = [{ name = "Devices", decision = "non_identity", include = [{ certificate = {} }] }]
"""


def make_api(root_path: str = "") -> FastAPI:
    with warnings.catch_warnings():
        # FastAPI would rather have the server say it, but takes it all the same.
        warnings.simplefilter("ignore")
        app = FastAPI(root_path=root_path)

    @app.get("/admin")
    async def admin() -> str:
        CALLS.append("admin")
        return "administration"

    return app


def protect(app: ASGIApp) -> ASGIApp:
    return AccessMiddleware(app, config="prefixed.toml")


def add_to(app: FastAPI) -> FastAPI:
    app.add_middleware(AccessMiddleware, config="prefixed.toml")
    return app


SHAPES: dict[str, Callable[[], ASGIApp]] = {
    "around an app with a root_path": lambda: protect(make_api("/api")),
    "added to an app with a root_path": lambda: add_to(make_api("/api")),
    "around a mount": lambda: protect(Starlette(routes=[Mount("/api", make_api())])),
    "around an app in a mount": lambda: Starlette(routes=[Mount("/api", protect(make_api()))]),
    "added to an app in a mount": lambda: Starlette(routes=[Mount("/api", add_to(make_api()))]),
    "in a mount's own list": lambda: Starlette(
        routes=[Mount("/api", make_api(), middleware=[Middleware(AccessMiddleware, config="prefixed.toml")])]
    ),
    "around a mount in a mount": lambda: protect(
        Starlette(routes=[Mount("/api", Starlette(routes=[Mount("/", make_api())]))])
    ),
    "around a middleware around an app": lambda: protect(GZipMiddleware(make_api("/api"))),
    "around middlewares around an app": lambda: protect(GZipMiddleware(CORSMiddleware(make_api("/api")))),
    "around an app whose root_path ends with a slash": lambda: protect(make_api("/api/")),
}
SPELLINGS = [
    "/api/admin",
    "/admin",
    "/api/api/admin",
    "/api//admin",
    "//api/admin",
    "//admin",
    "/apiadmin",
    "/api/api//admin",
    "/api/./admin",
    "/api/../admin",
    "/api/../api/admin",
    "/API/admin",
    "/api/admin/",
    "/",
    "/api",
    "",
]


@pytest.fixture
def place(here: Path) -> Path:
    (here / "prefixed.toml").write_text(PREFIXED, encoding="utf-8")
    return here


@pytest.mark.parametrize("root_path", ["", "/"])
@pytest.mark.parametrize("shape", SHAPES)
def test_no_spelling_reaches_the_protected_page_as_another_s(place: Path, shape: str, root_path: str) -> None:
    """With the prefix or without it, once or twice, or as something that some reader takes for it."""
    app = SHAPES[shape]()
    for path in SPELLINGS:
        live_and_ask(app, make_scope(path=path, raw_path=path.encode(), root_path=root_path))
        assert "admin" not in CALLS, path


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if "slash" not in shape])
def test_a_device_reaches_it(place: Path, chain: tuple[str, ...], shape: str) -> None:
    """By its plain path: a gate that refuses everybody would pass the test above."""
    assert live_and_ask(SHAPES[shape](), make_scope(chain, path="/api/admin", raw_path=b"/api/admin")).status == 200
    assert CALLS == ["admin"]


def make_litestar() -> ASGIApp:
    @get("/admin")
    async def admin() -> str:
        CALLS.append("admin")
        return "administration"

    app: Any = Litestar([admin], openapi_config=None)
    return protect(app)


@pytest.mark.parametrize("path", [*SPELLINGS, "/x/api/admin", "/x/api/api/admin", "/api/x/api/admin", "/xapi/admin"])
def test_litestar_looks_for_the_server_s_prefix_anywhere(place: Path, path: str) -> None:
    """It cuts off whatever stands before it: /x/api/admin is /admin to it, below the prefix /api."""
    live_and_ask(make_litestar(), make_scope(path=path, raw_path=path.encode(), root_path="/api"))
    assert "admin" not in CALLS


def test_a_prefix_further_on_does_no_harm_by_itself(place: Path) -> None:
    """Where both readings are the same application's, there is nothing to refuse: files often bear the app's name."""
    for path in ("/static/api.js", "/x/api/page"):
        answer = live_and_ask(make_litestar(), make_scope(path=path, raw_path=path.encode(), root_path="/api"))
        assert answer.status == 404


def test_litestar_serves_a_device_below_the_server_s_prefix(place: Path, chain: tuple[str, ...]) -> None:
    """By the path with the prefix, as by the path without."""
    for path in ("/admin", "/api/admin"):
        scope = make_scope(chain, path=path, raw_path=path.encode(), root_path="/api")
        assert live_and_ask(make_litestar(), scope).status == 200


def test_django_s_own_prefix_is_part_of_the_path(
    place: Path, chain: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """FORCE_SCRIPT_NAME is taken off the path where it stands there, and not missed where it does not."""
    (place / "prefixed.toml").write_text(PREFIXED.replace("/api/admin", "/api"), encoding="utf-8")
    door = make_django()
    assert isinstance(door, AccessMiddleware)
    assert live_and_ask(protect(door.app), make_scope()).status == 200
    monkeypatch.setattr(settings, "FORCE_SCRIPT_NAME", "/api")
    for path in ("/", "/api/"):
        CALLS.clear()
        assert live_and_ask(protect(door.app), make_scope(path=path, raw_path=path.encode())).status == 401
        assert CALLS == []
        assert live_and_ask(protect(door.app), make_scope(chain, path=path, raw_path=path.encode())).status == 200


def test_everything_else_is_open(place: Path) -> None:
    """Or the test above would prove nothing of what it says about other applications."""
    answer = live_and_ask(SHAPES["around an app with a root_path"](), make_scope(path="/docs", raw_path=b"/docs"))
    assert answer.status == 200


@pytest.mark.parametrize("app", [None, object(), {"root_path": "/api"}, make_api(), lambda: None])
def test_an_app_without_a_prefix_has_none(app: object) -> None:
    """Most apps are of another kind."""
    assert find_prefix(app) == ""
