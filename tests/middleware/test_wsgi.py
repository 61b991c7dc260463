"""wsgi: the skin that Flask, Django and other WSGI applications meet, and what it believes of which server."""

import io
import json
import logging
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest

from certificates import DAY, Pair, make_authority, make_leaf, make_name
from deploy.forgeries import make_claims
from keyfob.carriers import SERVERS, UNKNOWN_PEER, Peer, find_other_end, find_server, read_socket
from keyfob.errors import ConfigError, MiddlewareMissing, Reason
from keyfob.gate import UNSEEN, Renewal
from keyfob.policy import Deny, Policy, PolicyDecision, Rules
from keyfob.request import IDENTITY, Request
from keyfob.trust import Roots
from keyfob.wsgi import AccessMiddleware, client_certificate, tls_client_auth
from servers import ROOT as CHECKOUT
from servers import environment
from sites import EVERYONE, make_gate, make_site

CA, OTHER = make_authority("Root"), make_authority("Other")
# Commas inside quotation marks are what XFCC has to survive.
LEAF = make_leaf(CA, make_name("Rhea Group", organization_name="Acme, Inc."))
STRANGER = make_leaf(OTHER)
HOST = "money.example.com"

Environ = WSGIEnvironment


@dataclass
class Answer:
    """What a WSGI app answered."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def reason(self) -> str:
        return str(json.loads(self.body)["type"]).removeprefix("urn:keyfob:")


class Recorder:
    """An app that keeps the environs it was called with, and answers 200."""

    def __init__(self) -> None:
        self.environs: list[Environ] = []

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        self.environs.append(environ)
        start_response("200 OK", [])
        return [b"hello"]


class Gunicorn:
    """The object whose `start_response` gunicorn hands over, with its settings as `cfg`."""

    def __init__(self, **settings: object) -> None:
        defaults = {"header_map": "drop", "protocol": "http", "strip_header_spaces": False}
        self.cfg = SimpleNamespace(**{**defaults, "forwarder_headers": ["SCRIPT_NAME", "PATH_INFO"], **settings})
        self.answer = Answer()

    def start_response(self, status: str, headers: list[tuple[str, str]], exc_info: object = None) -> Any:
        self.answer.status, self.answer.headers = int(status.split(maxsplit=1)[0]), dict(headers)
        return lambda data: None


def ask(app: Any, environ: Environ, server: Gunicorn | None = None) -> Answer:
    """Calls the app once, as gunicorn would."""
    server = server or Gunicorn()
    server.answer.body = b"".join(app(environ, server.start_response))
    return server.answer


def make_environ(*, host: Any = HOST, **more: Any) -> Environ:
    """An environ that has the mark of no server."""
    environ: Environ = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/",
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "8443",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "REMOTE_PORT": "50000",
        "CONTENT_LENGTH": "",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "https",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    if host is not None:
        environ["HTTP_HOST"] = host
    return environ | more


def apache(pem: Any = "", **more: Any) -> Environ:
    """What Debian's mod_wsgi gives with StdEnvVars and ExportCertData."""
    said = {"SSL_CLIENT_VERIFY": "SUCCESS" if pem else "NONE", "SSL_CLIENT_CERT": pem}
    return make_environ(**{"mod_wsgi.version": (4, 9, 4), **said, **more})


def cheroot(pem: Any = "", **more: Any) -> Environ:
    """What cheroot's built-in adapter gives: no key for a certificate that is not there."""
    said = {"SSL_CLIENT_VERIFY": "SUCCESS", "SSL_CLIENT_CERT": pem.strip()} if pem else {"SSL_CLIENT_VERIFY": "NONE"}
    return make_environ(**{"ACTUAL_SERVER_PROTOCOL": "HTTP/1.1", **said, **more})


@pytest.fixture
def roots(tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    path.write_text(CA.pem)
    return path


@pytest.fixture
def door(roots: Path) -> Callable[..., AccessMiddleware]:
    """Makes a middleware around a fresh Recorder from a [source] table, for any device or by the rules given."""

    def make(
        source: str, rules: str = 'decision = "non_identity", include = [{ certificate = {} }]'
    ) -> AccessMiddleware:
        path = roots.parent / "access.toml"
        path.write_text(
            f"""
            source = {{ {source} }}
            root_certificates = [{{ name = "r", certificate = "ca.pem", associated_hostnames = ["{HOST}"] }}]
            [[applications]]
            name = "App"
            domain = "{HOST}"
            policies = [{{ name = "p", {rules} }}]
            """
        )
        return AccessMiddleware(Recorder(), config=path)

    return make


def calls(door: AccessMiddleware) -> list[Environ]:
    return cast("Recorder", door.app).environs


OPEN = 'decision = "bypass", include = [{ everyone = {} }]'
TLS = 'kind = "tls"'


# --- The skin -------------------------------------------------------------------------------------------------------


def test_a_known_device_reaches_the_app(roots: Path) -> None:
    """The app is called once, and its answer is the answer."""
    door = AccessMiddleware(Recorder(), roots=roots)
    answer = ask(door, apache(LEAF.pem))
    assert (answer.status, answer.body) == (200, b"hello")
    [environ] = calls(door)
    assert client_certificate(environ).common_name == "Rhea Group"  # type: ignore[union-attr]
    assert tls_client_auth(environ)["certVerified"] == "SUCCESS"


@pytest.mark.parametrize(
    ("environ", "reason"),
    [
        (apache(), "certificate-missing"),
        (apache(STRANGER.pem), "certificate-untrusted"),
        (apache("garbage"), "certificate-malformed"),
        (apache(LEAF.pem, host=None), "host-malformed"),
        (apache(LEAF.pem, host="a, b"), "host-malformed"),
        (make_environ(), "certificate-not-requested"),
    ],
)
def test_the_app_is_not_called_for_anybody_else(roots: Path, environ: Environ, reason: str) -> None:
    """Each with its own reason."""
    door = AccessMiddleware(Recorder(), roots=roots)
    assert ask(door, environ).reason == reason
    assert calls(door) == []


def test_only_the_named_devices(roots: Path) -> None:
    """common_names narrows the CA's certificates to those."""
    door = AccessMiddleware(Recorder(), roots=roots, common_names=["Rhea Group"])
    assert ask(door, apache(LEAF.pem)).status == 200
    assert ask(door, apache(make_leaf(CA, "Second device").pem)).status == 403


@pytest.mark.parametrize("arguments", [{}, {"config": "a.toml", "roots": "ca.pem"}, {"roots": "missing.pem"}])
def test_half_an_instruction_is_refused_at_start_up(arguments: dict[str, Any]) -> None:
    """With the errors of the ASGI skin: the gate is built in one place."""
    with pytest.raises(ConfigError):
        AccessMiddleware(Recorder(), **arguments)


def test_a_refusal_is_answered_and_recorded(roots: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The answer's number is the log's number, and the log has the client's address."""
    with caplog.at_level(logging.WARNING, logger="keyfob.audit"):
        answer = ask(AccessMiddleware(Recorder(), roots=roots), cheroot(PATH_INFO="/caf\xc3\xa9", SCRIPT_NAME="/app"))
    assert answer.status == 401
    assert answer.headers["content-length"] == str(len(answer.body))
    problem, record = json.loads(answer.body), json.loads(caplog.records[-1].getMessage())
    assert problem["request_id"] == record["request_id"]
    assert (record["address"], record["path"], record["method"]) == ("127.0.0.1", "/app/café", "GET")


def test_a_person_is_refused_with_a_page(roots: Path) -> None:
    """The Accept field decides, as with ASGI."""
    answer = ask(AccessMiddleware(Recorder(), roots=roots), apache(HTTP_ACCEPT="text/html"))
    assert answer.headers["content-type"].startswith("text/html")


def test_a_refused_head_request_has_no_body(roots: Path) -> None:
    """The length is told, and nothing is sent."""
    answer = ask(AccessMiddleware(Recorder(), roots=roots), apache(REQUEST_METHOD="HEAD"))
    assert (answer.status, answer.body) == (401, b"")
    assert int(answer.headers["content-length"]) > 0


def test_an_unexpected_failure_is_no_open_door(roots: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong on the way to a verdict, the app is not called."""
    door = AccessMiddleware(Recorder(), roots=roots)

    def fail(_: object) -> None:
        raise RuntimeError("nobody thought of this")

    monkeypatch.setattr(door.gate, "check", fail)
    with pytest.raises(RuntimeError):
        ask(door, apache(LEAF.pem))
    monkeypatch.setattr(door.gate, "check", lambda _: True)
    with pytest.raises(AttributeError):
        ask(door, apache(LEAF.pem))
    assert calls(door) == []


def test_the_environ_says_where_the_successor_is(roots: Path) -> None:
    """For a certificate that ends soon; whatever stood there before."""
    leaving = make_leaf(CA, ends=5 * DAY)
    open_to_all = Policy("all", PolicyDecision.BYPASS, Rules((EVERYONE,)))
    site = make_site(Roots((CA.certificate,), ()), open_to_all)
    site.renewal = Renewal("/renew", 20 * DAY.total_seconds())
    app = Recorder()
    door = AccessMiddleware(app, gate=make_gate(site))
    for pem in (leaving.pem, LEAF.pem):
        ask(door, apache(pem) | {"keyfob.renewal": "a lie"})
    ask(door, apache() | {"keyfob.renewal": "a lie", "HTTP_KEYFOB_RENEWAL": "a lie"})
    ask(AccessMiddleware(app, roots=roots), apache(leaving.pem))
    assert [environ["keyfob.renewal"] for environ in app.environs] == ["/renew", None, None, None]


def test_nobody_else_writes_an_identity(roots: Path, door: Callable[..., AccessMiddleware]) -> None:
    """What a server or a middleware left under the key is gone, whether the request is let in or not."""
    inner = door(TLS, OPEN)
    assert ask(inner, apache(LEAF.pem)).status == 200
    forged = calls(inner)[0][IDENTITY]
    refused, admitted = apache(**{IDENTITY: forged}), apache(**{IDENTITY: forged})
    assert ask(AccessMiddleware(Recorder(), roots=roots), refused).status == 401
    assert IDENTITY not in refused
    assert ask(inner, admitted).status == 200
    assert client_certificate(calls(inner)[1]) is None


def test_asking_without_the_middleware_is_an_error() -> None:
    """No None, which an app could take for a visitor without a certificate."""
    with pytest.raises(MiddlewareMissing):
        client_certificate(make_environ())


@pytest.mark.parametrize("text", ["\udcff", "日本", "\x00", "a\r\nb", "\xff" * 9, "\xb2"])
@pytest.mark.parametrize("key", ["PATH_INFO", "HTTP_HOST", "HTTP_X_SSL_CLIENT_CERT", "HTTP_\udcff", "REMOTE_PORT"])
def test_text_that_no_server_should_hand_over_is_no_failure(
    door: Callable[..., AccessMiddleware], key: str, text: str
) -> None:
    """It becomes a decision like everything else."""
    for source in (TLS, NGINX):
        assert ask(door(source), apache(LEAF.pem, **{key: text})).status in {200, 400, 401, 403}


def test_the_skin_itself_needs_no_framework_and_no_event_loop() -> None:
    """Nor does anything that it imports, apart from what the package and `introduction` bring along."""
    program = (
        "import sys, types\n"
        "for name, path in (('keyfob', {path!r}),):\n"
        "    sys.modules[name] = types.ModuleType(name)\n"
        "    sys.modules[name].__path__ = [path]\n"
        "fake = sys.modules['keyfob.introduction'] = types.ModuleType('keyfob.introduction')\n"
        "fake.client_certificate = fake.identity = fake.tls_client_auth = None\n"
        "import keyfob.wsgi\n"
        "print(sorted({{'asyncio', 'starlette', 'anyio', 'uvicorn'}} & set(sys.modules)))\n"
    ).format(path=str(CHECKOUT / "middleware" / "keyfob"))
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment(), check=False
    )
    assert (found.stdout.strip(), found.stderr) == ("[]", "")


# --- The TLS source: one row a server ---------------------------------------------------------------------------------


def test_every_row_has_a_mark_of_its_own() -> None:
    """The table is closed: six servers, each known by a key that no header can become."""
    assert [row.name for row in SERVERS] == ["gunicorn", "werkzeug", "waitress", "cheroot", "mod_wsgi", "uwsgi"]
    assert len({row.mark for row in SERVERS}) == len(SERVERS)
    assert not any(row.mark.startswith("HTTP_") for row in SERVERS)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"SSL_CLIENT_VERIFY": "NONE"}, "certificate-untrusted"),
        ({"SSL_CLIENT_VERIFY": "GENEROUS"}, "certificate-untrusted"),
        ({"SSL_CLIENT_VERIFY": "FAILED:certificate has expired"}, "certificate-untrusted"),
        ({"SSL_CLIENT_VERIFY": "success"}, "certificate-untrusted"),
        ({"SSL_CLIENT_VERIFY": ""}, "certificate-untrusted"),
        ({"SSL_CLIENT_VERIFY": "FAILED:x", "SSL_CLIENT_CERT": ""}, "certificate-untrusted"),
        ({"SSL_CLIENT_CERT": ""}, "certificate-not-requested"),
        ({"wsgi.url_scheme": "http"}, "certificate-not-requested"),
        ({"wsgi.url_scheme": ""}, "certificate-not-requested"),
    ],
)
@pytest.mark.parametrize("make", [apache, cheroot], ids=["mod_wsgi", "cheroot"])
def test_a_certificate_needs_its_verdict(
    roots: Path, make: Callable[..., Environ], said: dict[str, str], reason: str
) -> None:
    """Only SUCCESS, only beside a certificate, and only over TLS."""
    door = AccessMiddleware(Recorder(), roots=roots)
    assert ask(door, make(LEAF.pem, **said)).reason == reason
    assert calls(door) == []


def test_a_certificate_without_any_verdict_counts_for_nothing(roots: Path) -> None:
    """werkzeug's SSL_CLIENT_CERT is such a one: the socket has to say it."""
    environ = apache(LEAF.pem)
    del environ["SSL_CLIENT_VERIFY"]
    assert ask(AccessMiddleware(Recorder(), roots=roots), environ).reason == "certificate-not-requested"


def test_the_variables_of_one_server_mean_nothing_on_another(roots: Path) -> None:
    """Nor on two at once, nor on one that nobody knows."""
    door = AccessMiddleware(Recorder(), roots=roots)
    variables = {"SSL_CLIENT_VERIFY": "SUCCESS", "SSL_CLIENT_CERT": LEAF.pem, "HTTPS": "on"}
    der = ssl.PEM_cert_to_DER_cert(LEAF.pem).decode("latin-1")
    variables |= {"HTTPS_CC": LEAF.pem, "HTTPS_CLIENT_CERTIFICATE": der, "UWSGI_ROUTER": "http"}
    left, right = socket.socketpair()
    with left, right:
        marks = {
            "gunicorn.socket": left,
            "werkzeug.socket": left,
            "waitress.client_disconnected": SimpleNamespace(socket=left),
            "uwsgi.version": b"2.0.21",
        }
        for mark, value in marks.items():
            assert ask(door, make_environ(**{mark: value}, **variables)).reason == "certificate-not-requested"
            assert ask(door, apache(LEAF.pem, **{mark: value})).reason == "certificate-not-requested"
    assert ask(door, make_environ(**variables)).reason == "certificate-not-requested"
    assert ask(door, cheroot(LEAF.pem, **{"mod_wsgi.version": (4, 9, 4)})).reason == "certificate-not-requested"
    assert calls(door) == []


def test_no_header_reaches_the_tls_source(roots: Path) -> None:
    """Whatever it is called: a client's keys begin with HTTP_."""
    door = AccessMiddleware(Recorder(), roots=roots)
    names = ["SSL_CLIENT_VERIFY", "SSL_CLIENT_CERT", "HTTPS_CC", "HTTPS_CLIENT_CERTIFICATE", "MOD_WSGI.VERSION"]
    forged = {f"HTTP_{name}": "SUCCESS" if name.endswith("VERIFY") else LEAF.pem for name in [*names, IDENTITY.upper()]}
    forged |= {f"HTTP_{name}": value for name, value in forged.items()}
    for row in SERVERS:
        assert find_server(make_environ(**forged)).name == "unknown", row
    assert ask(door, make_environ(**forged)).reason == "certificate-not-requested"
    assert ask(door, apache(**forged)).reason == "certificate-missing"
    assert calls(door) == []


def test_apaches_chain_is_read(roots: Path) -> None:
    """SSL_CLIENT_CERT_CHAIN_0 and so on, up to the first that is not there."""
    intermediate = make_authority("Intermediate", CA)
    leaf = make_leaf(intermediate)
    door = AccessMiddleware(Recorder(), roots=roots)
    assert ask(door, apache(leaf.pem)).reason == "certificate-untrusted"
    assert ask(door, apache(leaf.pem, SSL_CLIENT_CERT_CHAIN_1=intermediate.pem)).reason == "certificate-untrusted"
    assert ask(door, apache(leaf.pem, SSL_CLIENT_CERT_CHAIN_0=intermediate.pem)).status == 200


def test_each_server_comes_with_what_to_do_about_it(roots: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For the log, where no certificate was asked for."""
    door = AccessMiddleware(Recorder(), roots=roots)
    seen: list[str] = []

    def listen(request: Request) -> Deny:
        seen.append(request.scope["extensions"]["keyfob.remedy"])
        return Deny(Reason.CERTIFICATE_NOT_REQUESTED, "", "", UNSEEN)

    monkeypatch.setattr(door.gate, "check", listen)
    for row in SERVERS:
        ask(door, make_environ(**{row.mark: None}))
    ask(door, make_environ())
    options = ["--cert-reqs 1", "CERT_OPTIONAL", "let a proxy do it", "CERT_OPTIONAL", "+ExportCertData", "--https"]
    assert all(option in said for option, said in zip([*options, "gunicorn, werkzeug"], seen, strict=True))


def test_the_log_names_the_cure_for_this_very_server(roots: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Not the one for uvicorn."""
    door = AccessMiddleware(Recorder(), roots=roots)
    with caplog.at_level(logging.WARNING, logger="keyfob.audit"):
        ask(door, make_environ(**{"waitress.client_disconnected": None}))
    detail = json.loads(caplog.records[-1].getMessage())["detail"]
    assert "waitress speaks no TLS" in detail
    assert "uvicorn" not in detail


@pytest.fixture
def uwsgi(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[socket.socket], None]]:
    """uWSGI's own module, which tells the connection that a request came by."""
    opened: list[socket.socket] = []

    def pretend(connection: socket.socket) -> None:
        opened.append(connection)
        monkeypatch.setitem(sys.modules, "uwsgi", SimpleNamespace(connection_fd=connection.fileno))

    yield pretend
    for connection in opened:
        connection.close()


def connect(family: socket.AddressFamily, name: Any) -> socket.socket:
    """The server's end of a connection to a socket of this name."""
    with socket.socket(family) as listener, socket.socket(family) as client:
        listener.bind(name)
        listener.listen()
        client.connect(listener.getsockname())
        return listener.accept()[0]


@pytest.mark.parametrize(
    ("name", "status"), [("file", 200), ("abstract", 401), ("tcp", 401), ("nothing", 401)], ids=str
)
def test_uwsgis_word_counts_where_only_its_router_can_say_it(
    roots: Path, tmp_path: Path, uwsgi: Callable[[socket.socket], None], name: str, status: int
) -> None:
    """By default its workers listen on a port of the loopback interface, where every local user can claim anything."""
    if name != "nothing":
        names = {"file": str(tmp_path / "s"), "abstract": "\0keyfob-test", "tcp": ("127.0.0.1", 0)}
        family = socket.AF_INET if name == "tcp" else socket.AF_UNIX
        uwsgi(connect(family, names[name]))
    der = ssl.PEM_cert_to_DER_cert(LEAF.pem).decode("latin-1")
    environ = make_environ(
        **{"uwsgi.version": b"2.0.21", "HTTPS_CLIENT_CERTIFICATE": der, "UWSGI_ROUTER": "http", "HTTPS": "on"}
    )
    door = AccessMiddleware(Recorder(), roots=roots)
    assert ask(door, dict(environ)).status == status
    if name == "file":
        for change in ({"UWSGI_ROUTER": "fastrouter"}, {"wsgi.url_scheme": "http"}):
            assert ask(door, environ | change).reason == "certificate-not-requested"


class Handshake:
    """A server's and a client's end of a real TLS connection in this process."""

    def __init__(self, folder: Path, mode: ssl.VerifyMode, identity: Pair | None, above: Sequence[Pair] = ()) -> None:
        certificate, key = make_leaf(CA, "localhost", usages=None).write(folder, "server")
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(certificate, key)
        server.load_verify_locations(cadata=CA.pem)
        server.verify_mode = mode
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
        if identity:
            client.load_cert_chain(*identity.write(folder, "client", above=above))
        left, right = socket.socketpair()
        self.server = server.wrap_socket(left, server_side=True, do_handshake_on_connect=False)
        self.client = client.wrap_socket(right, do_handshake_on_connect=False)
        self.shake()

    def shake(self) -> None:
        for end in (self.server, self.client):
            end.setblocking(False)
        waiting = [self.client, self.server]
        while waiting:
            for end in list(waiting):
                try:
                    end.do_handshake()
                except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                    continue
                waiting.remove(end)

    def __enter__(self) -> ssl.SSLSocket:
        return self.server

    def __exit__(self, *_: object) -> None:
        self.server.close()
        self.client.close()


def test_a_socket_tells_the_chain_that_came_with_its_handshake(tmp_path: Path, roots: Path) -> None:
    """Leaf first, for gunicorn and werkzeug alike."""
    intermediate = make_authority("Intermediate", CA)
    leaf = make_leaf(intermediate)
    with Handshake(tmp_path, ssl.CERT_OPTIONAL, leaf, [intermediate]) as connection:
        found = read_socket(connection)
        assert found is not None
        assert found.chain == (leaf.pem, intermediate.pem)
        for key in ("gunicorn.socket", "werkzeug.socket"):
            door = AccessMiddleware(Recorder(), roots=roots)
            assert ask(door, make_environ(**{key: connection, "wsgi.url_scheme": "http"})).status == 200


def test_a_socket_without_a_certificate_tells_none(tmp_path: Path) -> None:
    """Asked and not given is something else than not asked."""
    with Handshake(tmp_path, ssl.CERT_OPTIONAL, None) as connection:
        found = read_socket(connection)
        assert found is not None
        assert found.chain == ()
    with Handshake(tmp_path, ssl.CERT_NONE, LEAF) as connection:
        assert read_socket(connection) is None


def test_a_certificate_that_openssl_was_not_told_to_verify_counts_for_nothing(tmp_path: Path) -> None:
    """A context whose mode was changed after the handshake is as bad as one that never asked."""
    with Handshake(tmp_path, ssl.CERT_OPTIONAL, LEAF) as connection:
        connection.context.verify_mode = ssl.CERT_NONE
        assert read_socket(connection) is None


@pytest.mark.parametrize("thing", [None, "socket", object(), LEAF.pem])
def test_what_is_no_socket_tells_nothing(thing: object) -> None:
    """Neither a certificate nor an address."""
    assert read_socket(thing) is None
    assert find_other_end(thing) == UNKNOWN_PEER


# --- Who is at the other end ------------------------------------------------------------------------------------------

NGINX = 'kind = "header", format = "nginx", trusted_proxies = ["127.0.0.1"]'
UNIX = 'kind = "header", format = "nginx", trusted_proxies = ["unix"]'
CLAIMS = make_claims(LEAF.certificate)


def as_keys(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Headers as gunicorn writes them into an environ."""
    keys: dict[str, str] = {}
    for name, value in headers:
        key = "HTTP_" + name.upper().replace("-", "_")
        keys[key] = f"{keys[key]},{value}" if key in keys else value
    return keys


@pytest.fixture
def tcp() -> Iterator[socket.socket]:
    """The server's end of a connection from 127.0.0.1."""
    with connect(socket.AF_INET, ("127.0.0.1", 0)) as connection:
        # The client has closed its end, which does not make it anybody else.
        yield connection


@pytest.fixture
def unix(tmp_path: Path) -> Iterator[socket.socket]:
    with connect(socket.AF_UNIX, str(tmp_path / "socket")) as connection:
        yield connection


def gunicorn(connection: socket.socket, headers: Any = CLAIMS["nginx"], **more: Any) -> Environ:
    return make_environ(**{"gunicorn.socket": connection, "wsgi.url_scheme": "http", **as_keys(headers), **more})


def waitress(connection: socket.socket, **more: Any) -> Environ:
    class Channel:
        socket = connection

        def check(self) -> bool:
            return False

    return make_environ(**{"waitress.client_disconnected": Channel().check, **as_keys(CLAIMS["nginx"]), **more})


def werkzeug(connection: socket.socket, **more: Any) -> Environ:
    return make_environ(**{"werkzeug.socket": connection, **as_keys(CLAIMS["nginx"]), **more})


@pytest.mark.parametrize("make", [gunicorn, waitress, werkzeug])
def test_the_socket_says_who_the_peer_is_and_remote_addr_does_not(
    door: Callable[..., AccessMiddleware], tcp: socket.socket, make: Callable[..., Environ]
) -> None:
    """ProxyFix, waitress's trusted_proxy and the PROXY protocol write over the one, and nobody over the other."""
    for address in ("127.0.0.1", "203.0.113.7", "", "unix"):
        assert ask(door(NGINX), make(tcp, REMOTE_ADDR=address)).status == 200
    elsewhere = door(NGINX.replace("127.0.0.1", "203.0.113.7"))
    assert ask(elsewhere, make(tcp, REMOTE_ADDR="203.0.113.7")).reason == "peer-not-trusted"
    assert calls(elsewhere) == []


@pytest.mark.parametrize("make", [gunicorn, waitress, werkzeug])
def test_a_unix_socket_is_known_by_its_family(
    door: Callable[..., AccessMiddleware], unix: socket.socket, tcp: socket.socket, make: Callable[..., Environ]
) -> None:
    """Servers write '', 'localhost' or '<local>' for its other end, and a port that they found in the Host field."""
    for address in ("", "localhost", "<local>", "127.0.0.1"):
        assert ask(door(UNIX), make(unix, REMOTE_ADDR=address, SERVER_PORT="80")).status == 200
    assert ask(door(UNIX), make(tcp, REMOTE_ADDR="")).reason == "peer-not-trusted"
    assert ask(door(NGINX), make(unix, REMOTE_ADDR="127.0.0.1")).reason == "peer-not-trusted"


@pytest.mark.parametrize("make", [gunicorn, waitress, werkzeug])
def test_a_peer_that_has_hung_up_is_nobody(door: Callable[..., AccessMiddleware], make: Callable[..., Environ]) -> None:
    """A reset connection has no name any more, and REMOTE_ADDR does not take its place."""
    with socket.socket() as nowhere:
        assert find_other_end(nowhere) == UNKNOWN_PEER
        assert ask(door(NGINX), make(nowhere)).reason == "peer-not-trusted"
        assert ask(door(UNIX), make(nowhere)).reason == "peer-not-trusted"


def test_an_address_of_six_or_four_words_is_an_address() -> None:
    """getpeername has two fields more for IPv6."""
    with connect(socket.AF_INET6, ("::1", 0)) as connection:
        peer = find_other_end(connection)
    assert isinstance(peer, Peer)
    assert peer.address is not None
    assert peer.address[0] == "::1"


def test_apache_has_to_tell_its_peer(door: Callable[..., AccessMiddleware]) -> None:
    """mod_remoteip leaves no trace of what it writes over REMOTE_ADDR."""
    claim = as_keys(CLAIMS["nginx"])
    silent = door(NGINX)
    assert ask(silent, apache(**claim)).reason == "peer-unclear"
    assert ask(silent, apache(**claim, CONN_REMOTE_ADDR="")).reason == "peer-unclear"
    assert ask(silent, apache(**claim, CONN_REMOTE_ADDR="203.0.113.7")).reason == "peer-not-trusted"
    assert calls(silent) == []
    assert ask(silent, apache(**claim, CONN_REMOTE_ADDR="127.0.0.1", REMOTE_ADDR="203.0.113.7")).status == 200


# --- Which headers can be believed ------------------------------------------------------------------------------------


def test_headers_are_not_believed_where_an_alias_cannot_be_seen(
    door: Callable[..., AccessMiddleware], tcp: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    """cheroot and uWSGI merge X_Cert into X-Cert; of an unknown server nobody can say."""
    claim = as_keys(CLAIMS["nginx"])
    for mark in (
        {"ACTUAL_SERVER_PROTOCOL": "HTTP/1.1"},
        {"uwsgi.version": b"2"},
        {},
        {"gunicorn.socket": tcp} | MARKED,
    ):
        closed = door(NGINX)
        with caplog.at_level(logging.WARNING, logger="keyfob.audit"):
            assert ask(closed, make_environ(**mark, **claim)).reason == "peer-unclear"
        assert "use gunicorn" in json.loads(caplog.records[-1].getMessage())["detail"]
        assert calls(closed) == []


MARKED = {"werkzeug.socket": None}


@pytest.mark.parametrize(
    "settings",
    [
        {"header_map": "dangerous"},
        {"header_map": "allow"},
        {"protocol": "uwsgi"},
        {"strip_header_spaces": True},
        {"forwarder_headers": ["SCRIPT_NAME", "X_SSL_CLIENT_CERT"]},
        {"forwarder_headers": ["*"]},
        # Of another format: the app would see it as that format's own.
        {"forwarder_headers": ["CLIENT_CERT"]},
    ],
)
def test_gunicorns_settings_have_to_keep_aliases_out(
    door: Callable[..., AccessMiddleware], tcp: socket.socket, settings: dict[str, Any]
) -> None:
    """Its defaults do, and each of these lets another spelling in as the header itself."""
    asked = door(NGINX)
    for good in ({}, {"header_map": "refuse"}, {"forwarder_headers": ["REMOTE_USER"]}):
        assert ask(asked, gunicorn(tcp), Gunicorn(**good)).status == 200
    # The same peer that was believed a moment ago.
    assert ask(asked, gunicorn(tcp), Gunicorn(**settings)).reason == "peer-unclear"
    assert len(calls(asked)) == 3


def test_a_gunicorn_that_does_not_know_header_map_merges(
    door: Callable[..., AccessMiddleware], tcp: socket.socket
) -> None:
    """The setting came with version 22; before it, every alias was taken for the header."""
    old = Gunicorn()
    del old.cfg.header_map
    assert ask(door(NGINX), gunicorn(tcp), old).reason == "peer-unclear"


def test_gunicorns_settings_have_to_be_in_sight(
    door: Callable[..., AccessMiddleware], tcp: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    """A middleware that wraps `start_response` hides them, so ours has to be outside."""

    def wrapped(app: Any) -> Any:
        def call(environ: Environ, start_response: Any) -> Any:
            return app(environ, partial(start_response))

        return call

    with caplog.at_level(logging.WARNING, logger="keyfob.audit"):
        assert ask(wrapped(door(NGINX)), gunicorn(tcp)).reason == "peer-unclear"
    assert "outermost" in json.loads(caplog.records[-1].getMessage())["detail"]


@pytest.mark.parametrize("comma", [",", ", ", " , "])
@pytest.mark.parametrize("form", CLAIMS)
def test_a_merged_header_is_refused(
    door: Callable[..., AccessMiddleware], tcp: socket.socket, form: str, comma: str
) -> None:
    """A client's copy beside the proxy's, in either order and with every server's comma, whatever the format."""
    ours, theirs = CLAIMS[form], make_claims(STRANGER.certificate)[form]
    assert ask(open_door(door, form), gunicorn(tcp, ours)).status == 200
    for first, second in ((ours, theirs), (theirs, ours), (ours, ours)):
        merged = [(name, value + comma + other) for (name, value), (_, other) in zip(first, second, strict=True)]
        closed = open_door(door, form)
        for headers in (merged, [*merged[:1], *ours[1:]]):
            assert ask(closed, gunicorn(tcp, headers)).reason == "header-malformed"
        assert calls(closed) == []


@pytest.mark.parametrize(
    "form", [form for form, headers in CLAIMS.items() if len(headers) > 1 and form != "cloudfront"]
)
def test_a_merged_verdict_is_refused(door: Callable[..., AccessMiddleware], tcp: socket.socket, form: str) -> None:
    """A verdict that comes twice says two things, be they the same."""
    certificate, *verdicts = CLAIMS[form]
    for index, (name, good) in enumerate(verdicts):
        for merged in (f"{good},{good}", f"{good}, NONE", f"NONE,{good}", f'{good},"'):
            headers = [certificate, *verdicts[:index], (name, merged), *verdicts[index + 1 :]]
            closed = open_door(door, form)
            assert ask(closed, gunicorn(tcp, headers)).reason == "header-malformed"
            assert calls(closed) == []


def open_door(door: Callable[..., AccessMiddleware], form: str) -> AccessMiddleware:
    silent = {"rfc9440", "envoy", "traefik", "caddy", "aws-alb", "cloudfront", "cloudflare", "kong"}
    verifies = ", proxy_verifies = true" if form in silent else ""
    return door(NGINX.replace("nginx", form) + verifies)


@pytest.mark.parametrize("quote", ['"', '\\"', '""', '"\\'])
def test_a_quotation_mark_does_not_hide_a_comma(
    door: Callable[..., AccessMiddleware], tcp: socket.socket, quote: str
) -> None:
    """An open quotation mark would swallow the comma between the client's value and Envoy's own."""
    [(name, ours)], [(_, theirs)] = CLAIMS["envoy"], make_claims(STRANGER.certificate)["envoy"]
    for forged in (f"{ours};X={quote},{theirs}", f"{theirs},{ours};X={quote}", f"{quote},{ours}"):
        closed = open_door(door, "envoy")
        assert ask(closed, gunicorn(tcp, [(name, forged)])).status == 400
        assert calls(closed) == []


def test_a_chain_in_one_header_cannot_be_told_from_two_headers(
    door: Callable[..., AccessMiddleware], tcp: socket.socket
) -> None:
    """Traefik writes a comma between certificates, as gunicorn does between headers: refused rather than guessed."""
    [(name, leaf)], [(_, above)] = CLAIMS["traefik"], make_claims(CA.certificate)["traefik"]
    assert ask(open_door(door, "traefik"), gunicorn(tcp, [(name, f"{leaf},{above}")])).reason == "header-malformed"


def test_the_header_of_a_chain_may_be_a_list(door: Callable[..., AccessMiddleware], tcp: socket.socket) -> None:
    """RFC 9440 section 2.3: Client-Cert-Chain is one, and may come in several lines."""
    intermediate = make_authority("Intermediate", CA)
    leaf = make_leaf(intermediate)
    [(name, value)] = make_claims(leaf.certificate)["rfc9440"]
    sent = [make_claims(each.certificate)["rfc9440"][0][1] for each in (intermediate, CA)]
    for chain in (", ".join(sent), ",".join(sent), sent[0]):
        assert (
            ask(open_door(door, "rfc9440"), gunicorn(tcp, [(name, value), ("Client-Cert-Chain", chain)])).status == 200
        )


@pytest.mark.parametrize("name", ["X.SSL.Client.Cert", "X-SSL.Client-Cert", "x.ssl-client-VERIFY", "X_SSL.Client_Cert"])
def test_a_dotted_alias_is_refused(door: Callable[..., AccessMiddleware], tcp: socket.socket, name: str) -> None:
    """It reaches the environ under a key of its own, beside the proxy's header or without it."""
    alias = [(name, "SUCCESS" if "VERIFY" in name else CLAIMS["nginx"][0][1])]
    for headers in ([*CLAIMS["nginx"], *alias], alias):
        closed = door(NGINX)
        assert ask(closed, gunicorn(tcp, headers)).reason == "header-malformed"
        assert calls(closed) == []


@pytest.mark.parametrize("fold", ["\n", "\r\n ", "\n\t", "\t"])
def test_a_folded_certificate_is_refused(door: Callable[..., AccessMiddleware], tcp: socket.socket, fold: str) -> None:
    """Some servers keep line ends or tabs where a header was folded; nothing is unfolded by guessing."""
    claim = [("X-SSL-Client-Cert", LEAF.pem.replace("\n", fold)), ("X-SSL-Client-Verify", "SUCCESS")]
    closed = door(NGINX)
    assert ask(closed, gunicorn(tcp, claim)).reason == "header-malformed"
    assert calls(closed) == []


def test_the_app_sees_no_header_that_anybody_could_believe(
    door: Callable[..., AccessMiddleware], tcp: socket.socket
) -> None:
    """Neither this format's, nor another's, nor an alias; all else is as it was."""
    foreign = as_keys([("Client-Cert", "x"), ("X.Client.Cert", "x"), ("X-Forwarded-Client-Cert", "x,y")])
    kept = {"HTTP_X_FORWARDED_FOR": "198.51.100.1, 198.51.100.2", "HTTP_ACCEPT": "a,b", "CONTENT_TYPE": "text/plain"}
    admitting = door(NGINX)
    environ = gunicorn(tcp, **foreign, **kept)
    assert ask(admitting, environ).status == 200
    [seen] = calls(admitting)
    assert {key for key in seen if key.startswith("HTTP_")} == {"HTTP_HOST", *kept} - {"CONTENT_TYPE"}
    assert {key: seen[key] for key in kept} == kept


def test_other_lists_are_not_taken_apart(
    door: Callable[..., AccessMiddleware], tcp: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rules see a header as it came, unless two of it would be one too many."""
    asked = door(NGINX)
    seen: list[tuple[bytes, bytes]] = []

    def listen(request: Request) -> Deny:
        seen.extend(request.headers)
        return Deny(Reason.HOST_UNKNOWN, "", "", UNSEEN)

    monkeypatch.setattr(asked.gate, "check", listen)
    ask(asked, gunicorn(tcp, [("Accept", "a, b"), ("Client-Cert", "c,d")], CONTENT_TYPE="e,f"))
    assert {(b"accept", b"a, b"), (b"client-cert", b"c"), (b"client-cert", b"d"), (b"content-type", b"e,f")} <= set(
        seen
    )


def test_a_tls_source_leaves_the_apps_headers_alone(roots: Path) -> None:
    """They mean nothing to it, so nothing is taken away, and a refused environ stays as it was."""
    door = AccessMiddleware(Recorder(), roots=roots)
    claim = as_keys(CLAIMS["nginx"])
    assert ask(door, apache(LEAF.pem, **claim)).status == 200
    assert claim.items() <= calls(door)[0].items()
    refused = apache(**claim)
    before = dict(refused)
    ask(door, refused)
    assert refused == before


def test_a_shared_secret_is_kept_from_the_app(
    door: Callable[..., AccessMiddleware], tcp: socket.socket, tmp_path: Path
) -> None:
    """Whoever has it can claim any certificate."""
    secret = "0123456789abcdef" * 2
    (tmp_path / "secret").write_text(secret)
    admitting = door('kind = "header", format = "nginx", shared_secret = { header = "X-Word", file = "secret" }')
    assert ask(admitting, gunicorn(tcp, HTTP_X_WORD=secret)).status == 200
    assert secret not in calls(admitting)[0].values()
    for wrong in ("", secret[:-1], f"{secret},{secret}", f"x,{secret}"):
        assert ask(admitting, gunicorn(tcp, HTTP_X_WORD=wrong)).reason == "peer-not-trusted"
    assert ask(admitting, make_environ(**as_keys(CLAIMS["nginx"]), HTTP_X_WORD=secret)).reason == "peer-unclear"
