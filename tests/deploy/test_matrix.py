"""Real proxies, with the very files of `deploy/`, in front of the real app: nobody gets in as somebody else."""

import asyncio
import importlib
import json
import re
import ssl
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import pytest
from websockets.asyncio.client import connect as open_websocket
from websockets.exceptions import InvalidStatus

from deploy import matrix
from deploy.forgeries import REQUESTS, make_claims, write_request
from deploy.identities import BAD, VALID, World
from deploy.matrix import OWN, ROWS, expect, find_faults, find_outcome, run_cells, split_claims
from deploy.setting import HOST, PUBLIC_HOST, Start
from deploy.standing import Front, run_commands, standing, write_rules
from deploy.wire import CLIENT, ask, ask_app
from keyfob.sources.formats import FORMATS
from servers import ROOT, make_client

# Each front: its module in deploy/fronts, and what there starts it.
FRONTS: Mapping[str, tuple[str, str]] = {
    "nginx": ("nginx", "start"),
    "nginx-debian": ("nginx", "start_debian"),
    "haproxy": ("haproxy", "start"),
    "haproxy-resuming": ("haproxy", "start_resuming"),
    "apache": ("apache", "start"),
    "caddy": ("caddy", "start"),
    "traefik": ("traefik", "start"),
    "envoy": ("envoy", "start"),
}


class FrontModule(Protocol):
    """What a module in deploy/fronts has."""

    FORMAT: str


@pytest.fixture(scope="module", params=FRONTS)
def front(request: pytest.FixtureRequest, world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """One proxy with its app, for all tests of this module."""
    name: str = request.param
    module_name, function = FRONTS[name]
    module = importlib.import_module(f"deploy.fronts.{module_name}")
    start = cast("Start", getattr(module, function))
    with standing(name, cast("FrontModule", module).FORMAT, start, world, tmp_path_factory.mktemp(name)) as running:
        yield running


@pytest.mark.parametrize("certificate", [*VALID, *BAD])
def test_every_cell_comes_to_what_the_table_says(front: Front, certificate: str) -> None:
    """A valid device gets in as itself or not at all, and nobody else gets in, whatever is asked and how."""
    identity = front.world.identities[certificate]
    cells = run_cells(front, identity)
    assert [fault for cell in cells for fault in find_faults(front, identity, cell)] == []
    found = {str(cell): find_outcome(identity, cell.answer) for cell in cells}
    assert found == {str(cell): expect(front.name, certificate, cell.request) for cell in cells}
    if certificate in VALID:
        new = {cell.version for cell in cells if cell.resuming and not cell.answer.resumed}
        assert set(matrix.VERSIONS) - new == set(ROWS[front.name].resumes)


def test_the_app_believes_nobody_but_the_proxy(front: Front) -> None:
    """Who finds the way to the app's own port, and is not the proxy, gains nothing by writing the proxy's headers."""
    own, others = split_claims(front)
    for request in REQUESTS:
        text = REQUESTS[request](own, others)
        answer = ask_app(front.app_port, text, source="127.0.0.2")
        assert not answer.reached_the_app, request
    answer = ask_app(front.app_port, write_request(own), source="127.0.0.2")
    assert (answer.status, answer.refusal) == (403, "peer-not-trusted")


# Names in the handshake and in the request, and how the request names its host.
CROSSINGS = {
    "a public handshake": (PUBLIC_HOST, write_request([], host=HOST)),
    "a public handshake, absolute": (PUBLIC_HOST, write_request([], host=PUBLIC_HOST, target=f"https://{HOST}/")),
    "a public handshake, two hosts": (PUBLIC_HOST, write_request([("Host", HOST)], host=PUBLIC_HOST)),
    "a public handshake, with port": (PUBLIC_HOST, write_request([], host=f"{HOST}:443")),
    "a public handshake, with dot": (PUBLIC_HOST, write_request([], host=f"{HOST}.")),
    "a public handshake, upper case": (PUBLIC_HOST, write_request([], host=HOST.upper())),
    "no name": (None, write_request([], host=HOST)),
    "an unknown name": ("unknown.example.com", write_request([], host=HOST)),
    "our handshake, public request": (HOST, write_request([], host=PUBLIC_HOST)),
    "our handshake, absolute": (HOST, write_request([], host=PUBLIC_HOST, target=f"https://{HOST}/")),
    "our handshake, public target": (HOST, write_request([], host=HOST, target=f"https://{PUBLIC_HOST}/")),
}


@pytest.mark.parametrize("certificate", ["none", "other-ca", "valid"])
def test_no_handshake_for_one_host_opens_another(front: Front, certificate: str) -> None:
    """Without a certificate nobody gets in, whatever names stand in the handshake and in the request."""
    identity = front.world.identities[certificate]
    own, _ = split_claims(front)
    claim = "".join(f"{name}: {value}\r\n" for name, value in own).encode("latin-1")
    for crossing, (name, request) in CROSSINGS.items():
        for text in (request, request[:-2] + claim + b"\r\n"):
            context = make_client(front.world.ca, *identity.files)
            context.check_hostname = False
            answer = ask(context, front.port, text, name=name)
            if name in (None, PUBLIC_HOST):
                assert answer.told == {}, f"{crossing}: this should not come as far as keyfob"
            elif answer.reached_the_app:
                assert answer.told["fingerprint"] == identity.fingerprint, crossing
                assert certificate == "valid", crossing


def test_a_session_of_another_host_brings_nothing(front: Front) -> None:
    """A TLS session that began on a public host opens nothing on ours, even where it is continued there."""
    own, _ = split_claims(front)
    for version in matrix.VERSIONS:
        context = make_client(front.world.ca, version=version)
        first = ask(context, front.port, write_request([], host=PUBLIC_HOST), name=PUBLIC_HOST)
        assert first.session is not None
        second = ask(context, front.port, write_request(own), session=first.session)
        # TLS 1.2 keeps the name of the first handshake, which older versions compare with the request's instead.
        assert second.refusal in {matrix.MISSING, "proxy 421"}
        if version == matrix.TLS_1_3:
            assert second.resumed == (front.name == "haproxy-resuming")


def test_a_websocket_comes_through(front: Front) -> None:
    """A WebSocket reaches the app with the certificate of its device, and without one it is refused."""
    own, _ = split_claims(front)
    for name in ("valid", "none"):
        identity = front.world.identities[name]
        context = make_client(front.world.ca, *identity.files)
        try:
            said = asyncio.run(_read_first_frame(front.port, context, own))
            assert (name, said["fingerprint"]) == ("valid", identity.fingerprint)
        except InvalidStatus as refused:
            assert (name, refused.response.status_code) == ("none", 401)


async def _read_first_frame(port: int, context: ssl.SSLContext, headers: Sequence[tuple[str, str]]) -> dict[str, str]:
    # Not the threaded client: Python's ssl cannot read and write one connection in two threads at once.
    local: dict[str, Any] = {"host": "127.0.0.1", "port": port, "local_addr": (CLIENT, 0)}
    async with open_websocket(
        f"wss://{HOST}/", ssl=context, additional_headers=headers, proxy=None, **local
    ) as websocket:
        said: dict[str, str] = json.loads(await websocket.recv())
    return said


def test_the_two_commands_of_the_page_answer_as_it_says(front: Front) -> None:
    """Who follows the page sees the app with a certificate, and without one what is missing."""
    first, second = run_commands(front, ROOT / "deploy" / FRONTS[front.name][0] / "README.md")
    assert first["fingerprint"] == front.world.identities["valid"].fingerprint
    assert second["type"] == f"urn:keyfob:{matrix.MISSING}"


@pytest.mark.parametrize("module", sorted({module for module, _ in FRONTS.values()}))
def test_the_page_has_the_source_that_was_tested(module: str, tmp_path: Path) -> None:
    """The [source] of a page is the one that the app had in the matrix; only the matrix names the client's address."""
    page = (ROOT / "deploy" / module / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    name = cast("FrontModule", importlib.import_module(f"deploy.fronts.{module}")).FORMAT
    tested = tomllib.loads(write_rules(tmp_path, tmp_path / "ca.pem", name).read_text(encoding="utf-8"))["source"]
    assert tomllib.loads(block)["source"] | {"client_address": "X-Forwarded-For"} == tested


def test_the_index_names_every_page() -> None:
    """A front that the table in deploy/README.md leaves out would be found by nobody, and a dead link by everybody."""
    pages = {page.parent.relative_to(ROOT / "deploy").as_posix() for page in (ROOT / "deploy").rglob("README.md")}
    index = (ROOT / "deploy" / "README.md").read_text(encoding="utf-8")
    assert {link.rstrip("/") for link in re.findall(r"\]\((.*?)\)", index)} == pages - {"."}


def test_the_table_lets_in_the_good_and_nobody_else() -> None:
    """No row says that a bad certificate gets in, or that a good one with a plain request does not."""
    for front in ROWS:
        assert {expect(front, certificate, "plain") for certificate in VALID} == {OWN}
        assert OWN not in {expect(front, certificate, request) for certificate in BAD for request in REQUESTS}


def test_every_format_is_forged(world: World) -> None:
    """A format that keyfob reads and the matrix does not forge would be one that nobody tried."""
    claims = make_claims(world.victim)
    assert set(FORMATS) - {"istio"} == set(claims)
    for name, form in FORMATS.items():
        forged = {header.lower() for header, _ in claims["envoy" if name == "istio" else name]}
        assert {form.certificate, *form.proofs} <= forged


def test_every_front_is_in_the_matrix() -> None:
    """A module that starts a proxy, and that no row of the table speaks of, would be one that nobody runs."""
    modules = {path.stem for path in (Path(__file__).parent / "fronts").glob("*.py")}
    assert {module for module, _ in FRONTS.values()} == modules
    assert set(FRONTS) | {"ingress-nginx"} == set(ROWS)
