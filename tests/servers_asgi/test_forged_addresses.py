"""Whoever writes an address into a header in order to be taken for the proxy, on every server."""

from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.wire import Answer
from servers_asgi.keys import Keys
from servers_asgi.rewriting import REWRITING
from servers_asgi.spellings import TELLING, forge_for
from servers_asgi.starting import EVERY, Fleet
from servers_asgi.wire import PROXY, STRANGER, ask, ask_websocket


def find_let_in(
    ask: Callable[..., Answer], at: int | Path, door: str, keys: Keys, source: str = STRANGER
) -> set[tuple[str, str]]:
    """By which middleware and which spelling somebody without an identity got in."""
    answers = {
        (rewriting, spelling): ask(
            at, f"/{door}/{rewriting}".rstrip("/"), [*keys.claim, *forge_for(rewriting, spelling)], source=source
        )
        for rewriting in REWRITING
        for spelling in TELLING
    }
    # Some servers answer 400 by themselves to what is no header.
    return {each for each, answer in answers.items() if answer.status not in {400, 401, 403}}


@pytest.mark.parametrize("kind", [ask, ask_websocket], ids=["http", "websocket"])
@pytest.mark.parametrize("name", EVERY)
def test_nobody_is_taken_for_the_proxy_on_a_port(
    fleet: Fleet, keys: Keys, name: str, kind: Callable[..., Answer]
) -> None:
    """By no spelling, and behind no middleware that takes addresses from headers."""
    assert find_let_in(kind, fleet.on_port(name).at, "every", keys) == set()


@pytest.mark.parametrize("name", EVERY)
def test_nobody_on_a_unix_socket_is_taken_for_an_address(fleet: Fleet, keys: Keys, name: str) -> None:
    """Where addresses alone are believed."""
    assert find_let_in(ask, fleet.on_socket(name).at, "address", keys, PROXY) == set()
