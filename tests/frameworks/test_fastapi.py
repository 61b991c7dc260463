"""FastAPI's own way to read a certificate: as a dependency."""

from pathlib import Path

import pytest

from exchanges import make_scope
from frameworks.calls import CALLS
from frameworks.fastapi_app import make, make_open
from frameworks.living import live_and_ask
from keyfob import MiddlewareMissing


@pytest.mark.parametrize("path", ["/depends", "/plain-depends"])
def test_a_handler_depends_on_it(here: Path, chain: tuple[str, ...], path: str) -> None:
    """In a coroutine, and in a function that runs in a thread."""
    assert live_and_ask(make(), make_scope(chain, path=path)).body == b"Hello, Rhea Group!"


def test_a_websocket_s_handler_depends_on_it(here: Path, chain: tuple[str, ...]) -> None:
    """The same dependency: FastAPI gives it whichever connection there is."""
    answer = live_and_ask(make(), make_scope(chain, kind="websocket", scheme="wss", path="/talk"))
    assert answer.messages[1]["text"] == "Hello, Rhea Group!"


def test_a_router_depends_on_it(here: Path, chain: tuple[str, ...]) -> None:
    """All its routes do, then, whether they read it or not."""
    assert live_and_ask(make(), make_scope(chain, path="/router/")).body == b"Hello, Rhea Group!"


@pytest.mark.parametrize("path", ["/depends", "/plain-depends", "/router/"])
def test_the_dependency_is_no_protection_and_does_not_pretend_to_be_one(
    here: Path, chain: tuple[str, ...], path: str
) -> None:
    """Without the middleware it raises, so the handler is not called, whatever the TLS layer says."""
    with pytest.raises(MiddlewareMissing):
        live_and_ask(make_open(), make_scope(chain, path=path))
    assert "hello" not in CALLS


def test_the_dependency_asks_nothing_of_the_client(here: Path) -> None:
    """It is not taken for a parameter of the query or a body, and so does not stand in the API's description."""
    operations = make_open().openapi()["paths"]
    assert not [path for path, methods in operations.items() if {"parameters", "requestBody"} & set(methods["get"])]
