"""Certificates in headers, on every WSGI server behind a proxy: the tests are one, and once it is a real nginx."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.fronts import nginx
from deploy.setting import Setting
from servers import find_port
from wsgi.fleet import SERVE, STARTS, Fleet, Place, running_on_file, tool
from wsgi.wire import Answer, ask, ask_tls, write_request
from wsgi.world import FRONT_HOST, World

BELIEVED = ["gunicorn-plain", "gunicorn-gthread-plain", "waitress-plain", "werkzeug-plain", "mod_wsgi-plain"]
DOUBTED = [
    "gunicorn-dangerous",
    "gunicorn-forwarder",
    "mod_wsgi-silent",
    "cheroot-plain",
    "uwsgi-plain",
    "granian-plain",
    "uvicorn-plain",
]
every_server = pytest.mark.parametrize("server", BELIEVED)


@every_server
def test_every_format_is_read(fleet: Fleet, world: World, server: str) -> None:
    """And none of its headers reaches the app."""
    for form, claim in world.claims.items():
        answer = ask(fleet[server], write_request(f"/{form}", claim))
        assert answer.told.get("fingerprint") == world.fingerprint, form
        assert answer.told["keys"] == ["HTTP_CONNECTION", "HTTP_HOST"], form


@every_server
def test_a_header_that_comes_twice_is_refused(fleet: Fleet, world: World, server: str) -> None:
    """Servers merge the two, and what comes of it is not guessed at."""
    for form, claim in world.claims.items():
        (name, value), *others = claim
        for second in (value, "x", "", '"'):
            for pair in ([(name, value), (name, second)], [(name, second), (name.upper(), value)]):
                answer = ask(fleet[server], write_request(f"/{form}", [*pair, *others]))
                assert answer.outcome == "header-malformed", (form, second)


@every_server
@pytest.mark.parametrize("character", ["_", "."])
def test_an_alias_never_stands_for_the_header(fleet: Fleet, world: World, server: str, character: str) -> None:
    """Dropped by the server, or refused here; and beside the proxy's own it changes nothing."""
    for form, claim in world.claims.items():
        aliases = [(name.replace("-", character), value) for name, value in claim]
        half = [(character.join(name.rsplit("-", 1)), value) for name, value in claim]
        for headers in (aliases, half, [*claim, *aliases], [*half, *claim]):
            answer = ask(fleet[server], write_request(f"/{form}", headers))
            if answer.outcome == "let in":
                assert len(headers) > len(claim), form
                assert answer.told["fingerprint"] == world.fingerprint, form
            else:
                assert answer.outcome in {"certificate-missing", "header-malformed"}, form


@every_server
def test_headers_of_another_format_open_nothing(fleet: Fleet, world: World, server: str) -> None:
    """All of them at once, but for those of formats that share a name with this one."""
    for form, claim in world.claims.items():
        own = {name.lower() for name, _ in claim}
        others = {name.lower(): (name, value) for each in world.claims.values() for name, value in each}
        headers = [pair for name, pair in others.items() if name not in own]
        assert ask(fleet[server], write_request(f"/{form}", headers)).outcome == "certificate-missing", form


@every_server
def test_a_trailer_is_no_header(fleet: Fleet, world: World, server: str) -> None:
    """It comes after the body, and some servers read that first."""
    for form, claim in world.claims.items():
        names = ", ".join(name for name, _ in claim)
        head = write_request(f"/{form}", [("Transfer-Encoding", "chunked"), ("Trailer", names)])
        trailers = "".join(f"{name}: {value}\r\n" for name, value in claim)
        answer = ask(fleet[server], head.replace(b"GET", b"POST", 1) + f"1\r\na\r\n0\r\n{trailers}\r\n".encode())
        assert answer.outcome in {"certificate-missing", "server 400"}, form


# RFC 9112 section 5.2 has a server put spaces in a fold's place, which is how Apache itself forwards a certificate.
UNFOLDING = {
    "waitress-plain": {"\r\n "},
    "werkzeug-plain": {"\r\n "},
    "mod_wsgi-plain": {"\r\n ", "\r\n\t"},
}


@every_server
@pytest.mark.parametrize("fold", ["\r\n ", "\r\n\t", "\n", "\n ", "\n\t", "\r "])
def test_a_folded_header_is_refused_or_is_what_it_was(fleet: Fleet, world: World, server: str, fold: str) -> None:
    """The server refuses it, or we do where it left something else than spaces; nothing is unfolded here."""
    (name, pem), *others = world.claims["apache"]
    answer = ask(fleet[server], write_request("/apache", [(name, pem.strip().replace(" ", fold)), *others]))
    if fold in UNFOLDING.get(server, ()):
        assert answer.told["fingerprint"] == world.fingerprint
    else:
        assert answer.outcome in {"header-malformed", "certificate-untrusted", "server 400"}


@every_server
def test_a_stranger_is_not_believed(fleet: Fleet, world: World, server: str) -> None:
    """By the address of the socket, whatever the headers say."""
    claim = [*world.claims["nginx"], ("X-Forwarded-For", "203.0.113.7"), ("X-Real-IP", "203.0.113.7")]
    assert ask(fleet[server], write_request("/elsewhere", claim)).outcome == "peer-not-trusted"
    assert ask(fleet[server], write_request("/unix", claim)).outcome == "peer-not-trusted"
    answer = ask(fleet[server], write_request("/nginx", world.claims["nginx"]), source="127.0.0.2")
    assert answer.outcome == "peer-not-trusted"


@pytest.mark.parametrize("server", ["waitress-trusting", "mod_wsgi-plain"])
def test_a_rewritten_address_is_not_the_peers(fleet: Fleet, world: World, server: str) -> None:
    """waitress's trusted_proxy and mod_remoteip copy a header over REMOTE_ADDR, and the app may see it there."""
    claim = [*world.claims["nginx"], ("X-Forwarded-For", "203.0.113.7")]
    answer = ask(fleet[server], write_request("/nginx", claim))
    assert (answer.outcome, answer.told.get("address")) == ("let in", "203.0.113.7")
    assert ask(fleet[server], write_request("/elsewhere", claim)).outcome == "peer-not-trusted"


def test_the_proxy_protocol_names_no_peer(fleet: Fleet, world: World) -> None:
    """gunicorn writes over REMOTE_ADDR what the first line of a connection says."""
    first = b"PROXY TCP4 203.0.113.7 127.0.0.1 4444 8000\r\n"
    place = fleet["gunicorn-proxy-protocol"]
    answer = ask(place, first + write_request("/nginx", world.claims["nginx"]))
    assert (answer.outcome, answer.told.get("address")) == ("let in", "203.0.113.7")
    answer = ask(place, first + write_request("/elsewhere", world.claims["nginx"]))
    assert answer.outcome == "peer-not-trusted"


@pytest.mark.parametrize("server", DOUBTED)
def test_no_header_is_believed_where_an_alias_could_have_written_it(fleet: Fleet, world: World, server: str) -> None:
    """A server that merges aliases, a setting that lets them pass, or one whose peer is out of sight."""
    for form, claim in world.claims.items():
        assert ask(fleet[server], write_request(f"/{form}", claim)).outcome == "peer-unclear", form


@pytest.mark.parametrize("server", ["gunicorn-dangerous", "gunicorn-forwarder", "cheroot-plain", "uwsgi-plain"])
def test_such_an_alias_really_arrives(fleet: Fleet, world: World, server: str) -> None:
    """What makes the refusal of the test above necessary: the door that trusts everything would be open."""
    alias = [(name.replace("-", "_"), value) for name, value in world.claims["nginx"]]
    answer = ask(fleet[server], write_request("/open", alias))
    assert "HTTP_X_SSL_CLIENT_CERT" in answer.told["keys"]


@pytest.mark.parametrize("server", BELIEVED)
def test_no_such_alias_arrives_where_headers_are_believed(fleet: Fleet, world: World, server: str) -> None:
    """What the row of each of these servers in the table rests on."""
    alias = [(name.replace("-", "_"), value) for name, value in world.claims["nginx"]]
    answer = ask(fleet[server], write_request("/open", [*alias, ("X-Kept", "a"), ("X_Dropped", "b")]))
    assert answer.told["keys"] == ["HTTP_CONNECTION", "HTTP_HOST", "HTTP_X_KEPT"]


@pytest.mark.parametrize("server", [*BELIEVED, *DOUBTED])
def test_no_header_makes_a_connection_one_with_tls(fleet: Fleet, world: World, server: str) -> None:
    """gunicorn believes X-Forwarded-Proto from this machine, and a scheme is not a certificate."""
    headers = [("X-Forwarded-Proto", "https"), ("X-Forwarded-Ssl", "on"), ("SSL-Client-Verify", "SUCCESS")]
    answer = ask(fleet[server], write_request("/tls", [*headers, *world.claims["nginx"]]))
    assert answer.outcome == "certificate-not-requested"


UNIX_COMMANDS = {
    "gunicorn": [tool("gunicorn"), "-b", "unix:gunicorn.sock", "--no-control-socket", "wsgi_echo:app"],
    "waitress": [tool("waitress-serve"), "--unix-socket=waitress.sock", "wsgi_echo:app"],
    "werkzeug": [sys.executable, str(SERVE), "werkzeug", "0"],
}


@pytest.mark.parametrize("name", UNIX_COMMANDS)
def test_a_unix_socket_is_believed_where_the_configuration_says_so(world: World, tmp_path: Path, name: str) -> None:
    """And nobody else who comes by it."""
    path = tmp_path / f"{name}.sock"
    with running_on_file(UNIX_COMMANDS[name], path, world.doors):
        claim = world.claims["nginx"]
        assert ask(path, write_request("/unix", claim)).told.get("fingerprint") == world.fingerprint
        assert ask(path, write_request("/nginx", claim)).outcome == "peer-not-trusted"
        assert ask(path, write_request("/unix", [*claim, *claim])).outcome == "header-malformed"
        assert ask(path, write_request("/tls", claim)).outcome == "certificate-not-requested"


@contextlib.contextmanager
def behind_nginx(world: World, server: str, folder: Path) -> Iterator[int]:
    """A real nginx with the file of `deploy/`, and behind it a server of STARTS."""
    app, port = find_port(), find_port()
    for name in ("app", "nginx"):
        (folder / name).mkdir()
    keys = world.folder
    setting = Setting(folder / "nginx", port, app, keys / "front.pem", keys / "front-key.pem", keys / "bundle.pem")
    with STARTS[server](Place(folder / "app", app, keys, world.doors)), nginx.start(setting):
        yield port


@pytest.mark.parametrize("server", ["waitress-forwarded", "gunicorn-plain", "gunicorn-gthread-plain", "werkzeug-plain"])
def test_a_real_nginx_hands_over_who_it_met(world: World, tmp_path: Path, server: str) -> None:
    """And nothing that a client writes, nor an alias of it, makes somebody else of them."""

    def knock(device: str | None, headers: list[tuple[str, str]]) -> Answer:
        request = write_request("/nginx", headers, FRONT_HOST)
        return ask_tls(port, world.client(device), request, host=FRONT_HOST)

    forged = world.claims["nginx"]
    aliases = [(name.replace("-", other), value) for name, value in forged for other in "_."]
    with behind_nginx(world, server, tmp_path) as port:
        for headers in ([], forged, [*forged, *forged], aliases, [("X-Forwarded-For", "127.0.0.1")]):
            for device, name in (("valid", "Own device"), ("nested", "Nested device")):
                assert knock(device, list(headers)).told.get("common_name") == name
            assert knock(None, list(headers)).outcome == "certificate-missing"
            for device in ("stranger", "expired"):
                assert knock(device, list(headers)).status in {0, 400}


@every_server
def test_a_host_name_that_comes_twice_is_none(fleet: Fleet, world: World, server: str) -> None:
    """The server refuses it, or merges the two into what is no host name."""
    request = write_request("/nginx", [*world.claims["nginx"], ("Host", "bundle.example.com")])
    assert ask(fleet[server], request).outcome in {"host-malformed", "server 400"}
