"""What the ASGI `tls` extension holds on real servers, by every protocol class, event loop and command line."""

import asyncio
import contextlib
import http.client
import json
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtensionOID
from websockets.asyncio.client import connect as open_websocket
from websockets.sync.client import connect

from certificates import Pair, make_authority, make_leaf, make_name, make_server
from keyfob.server.connection import describe_connection
from rules import EVERYONE
from servers import Running, environment, find_port, find_program, keyfob, make_client, running

Scope = dict[str, Any]

TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
PEER = "keyfob.socket_peer"
FORWARDED = "203.0.113.7"
# Long enough for a busy machine; nothing waits for it on a quiet one.
SECONDS = 30

# RFC 8446 appendix B.4 and the TLS Cipher Suites registry of IANA, by OpenSSL's names.
IANA = {
    "TLS_AES_128_GCM_SHA256": 0x1301,
    "TLS_AES_256_GCM_SHA384": 0x1302,
    "TLS_CHACHA20_POLY1305_SHA256": 0x1303,
    "ECDHE-ECDSA-AES128-GCM-SHA256": 0xC02B,
    "ECDHE-ECDSA-AES256-GCM-SHA384": 0xC02C,
    "ECDHE-ECDSA-CHACHA20-POLY1305": 0xCCA9,
    "ECDHE-ECDSA-AES128-SHA256": 0xC023,
    "ECDHE-ECDSA-AES256-SHA384": 0xC024,
}
TLS12_CIPHERS = [name for name in IANA if not name.startswith("TLS_")]
TLS13_CIPHERS = [name for name in IANA if name.startswith("TLS_")]


class Setting(NamedTuple):
    """How one server is started, and what has to be at work in it. Packages in `without` cannot be imported there."""

    command: str
    http: str = "HTTPProtocol"
    loop: str = "asyncio"
    machinery: tuple[str, str] = ("httptools_impl", "websockets_sansio_impl")
    without: Sequence[str] = ()


SETTINGS = {
    "httptools-asyncio": Setting("uvicorn"),
    "httptools-uvloop": Setting("uvicorn", loop="uvloop"),
    "h11-asyncio": Setting("uvicorn", "H11Protocol", machinery=("h11_impl", "websockets_sansio_impl")),
    "h11-uvloop": Setting("uvicorn", "H11Protocol", "uvloop", machinery=("h11_impl", "websockets_sansio_impl")),
    "fallbacks": Setting("uvicorn", machinery=("h11_impl", "wsproto_impl"), without=("httptools", "websockets")),
    "serve-uvloop": Setting("keyfob", loop="uvloop"),
    "serve-asyncio": Setting("keyfob", without=("uvloop",)),
}
UVICORN = [name for name, setting in SETTINGS.items() if setting.command == "uvicorn"]
SERVE = [name for name, setting in SETTINGS.items() if setting.command == "keyfob"]


class Keys(NamedTuple):
    """Certificates, and the folder with the PEM files of each. `clients` is the chain that each client sends."""

    folder: Path
    issuer: Pair
    server: Pair
    clients: dict[str, tuple[Pair, ...]]

    @property
    def authority(self) -> Path:
        return self.folder / "ca.pem"

    @property
    def serving(self) -> list[str]:
        """What makes uvicorn speak TLS."""
        certificate, key = map(str, self.identity("server"))
        return ["--ssl-certfile", certificate, "--ssl-keyfile", key]

    def client(
        self, name: str | None = None, version: ssl.TLSVersion = TLS13, ciphers: str | None = None
    ) -> ssl.SSLContext:
        """A TLS client that shows this identity, or none."""
        return make_client(self.folder / "server-ca.pem", *self.identity(name), version=version, ciphers=ciphers)

    def identity(self, name: str | None) -> tuple[Path, ...]:
        return (self.folder / f"{name}.pem", self.folder / f"{name}-key.pem") if name else ()


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    folder = tmp_path_factory.mktemp("keys")
    authority, issuer = make_authority(), make_authority("Test server CA")
    intermediate = make_authority("Test intermediate", authority)
    subject = make_name("Rhea Group", country_name="PT", organization_name="Money, App")
    odd = x509.UnrecognizedExtension(ExtensionOID.ISSUER_ALTERNATIVE_NAME, b"\x30\x03\x02\x01")
    clients = {
        "direct": (make_leaf(authority, subject),),
        "nested": (make_leaf(intermediate, "Nested"), intermediate),
        "odd": (make_leaf(authority, "Odd", extensions=[(odd, False)]),),
        "stranger": (make_leaf(make_authority("Another CA")),),
    }
    server = make_server(issuer)
    authority.write(folder, "ca")
    # Another CA than the devices': a client that knows its own issuer would send that along with its certificate.
    issuer.write(folder, "server-ca")
    server.write(folder, "server")
    for name, (leaf, *above) in clients.items():
        leaf.write(folder, name, above=above)
    return Keys(folder, issuer, server, clients)


class Fleet:
    """Servers of `SETTINGS`, each started when a test first asks for it."""

    def __init__(self, keys: Keys, folder: Path, stack: ExitStack) -> None:
        self._keys, self._folder, self._stack = keys, folder, stack
        self._running: dict[str, Running] = {}

    def __getitem__(self, name: str) -> Running:
        if name not in self._running:
            self._running[name] = self._stack.enter_context(self._start(name, SETTINGS[name]))
        return self._running[name]

    def _start(self, name: str, setting: Setting) -> Any:
        folder, port = self._folder / name, find_port()
        folder.mkdir()
        for package in setting.without:
            # The folder that a command is started in comes first where Python looks for modules.
            (folder / f"{package}.py").write_text("raise ImportError('not here')\n", encoding="utf-8")
        certificate, key = map(str, self._keys.identity("server"))
        if setting.command == "uvicorn":
            asking = ["--ssl-cert-reqs", "1", "--ssl-ca-certs", str(self._keys.authority), "--loop", setting.loop]
            return running(uvicorn(port, *self._keys.serving, *asking, http=setting.http), port, folder)
        config = self._keys.folder / "access.toml"
        config.write_text(EVERYONE, encoding="utf-8")
        options = ["--certificate", certificate, "--key", key, "--port", str(port)]
        return running(keyfob("serve", "echo_app:app", "--config", config, *options), port, folder)


def uvicorn(port: int, *more: str, http: str = "HTTPProtocol") -> list[str]:
    classes = ["--http", f"keyfob.server.uvicorn:{http}", "--ws", "keyfob.server.uvicorn:WebSocketProtocol"]
    return [sys.executable, "-m", "uvicorn", "echo_app:app", "--port", str(port), *classes, *more]


@pytest.fixture(scope="module")
def fleet(keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with ExitStack() as stack:
        yield Fleet(keys, tmp_path_factory.mktemp("fleet"), stack)


class Seen(NamedTuple):
    """One request from both ends: the app's scope, and what the client knows of the connection."""

    scope: Scope
    server_certificate: bytes
    version: str
    cipher: str
    address: list[Any]

    @property
    def tls(self) -> dict[str, Any]:
        extension: dict[str, Any] = self.scope["extensions"]["tls"]
        return extension


def ask(kind: str, server: Running, context: ssl.SSLContext) -> Seen:
    """One request, `http` or `wss`, which claims to be forwarded for somebody else."""
    return asyncio.run(_ask_websocket(server, context)) if kind == "wss" else _ask_page(server, context)


def _ask_page(server: Running, context: ssl.SSLContext) -> Seen:
    plain = socket.create_connection(("127.0.0.1", server.port), timeout=SECONDS)
    address = list(plain.getsockname())
    with context.wrap_socket(plain, server_hostname="localhost") as tls:
        return _describe(tls, _ask_http(tls), address)


async def _ask_websocket(server: Running, context: ssl.SSLContext) -> Seen:
    # The client with threads writes and reads one TLS object at once, which loses an answer now and then.
    async with open_websocket(
        f"wss://localhost:{server.port}/",
        host="127.0.0.1",
        ssl=context,
        additional_headers={"X-Forwarded-For": FORWARDED},
        proxy=None,
        open_timeout=SECONDS,
    ) as websocket:
        # Asked for first: once the server has hung up, nobody knows it any more.
        tls, address = websocket.transport.get_extra_info("ssl_object"), list(websocket.local_address)
        scope = json.loads(await asyncio.wait_for(websocket.recv(), SECONDS))
        return _describe(tls, scope, address)


def _describe(tls: ssl.SSLSocket | ssl.SSLObject, scope: Scope, address: list[Any]) -> Seen:
    cipher, certificate, version = tls.cipher(), tls.getpeercert(binary_form=True), tls.version()
    assert cipher is not None
    assert certificate is not None
    assert version is not None
    return Seen(scope, certificate, version, cipher[0], address)


def _ask_http(tls: ssl.SSLSocket) -> Scope:
    send(tls, f"X-Forwarded-For: {FORWARDED}")
    with tls.makefile("rb") as answers:
        return receive(answers)


def send(tls: ssl.SSLSocket, *headers: str, times: int = 1) -> None:
    lines = "".join(f"{line}\r\n" for line in headers)
    tls.sendall(f"GET / HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n".encode("ascii") * times)


def receive(answers: Any) -> Scope:
    """The next answer's scope."""
    assert answers.readline() == b"HTTP/1.1 200 OK\r\n"
    length = http.client.parse_headers(answers)["content-length"]
    scope: Scope = json.loads(answers.read(int(length or 0)))
    return scope


def chain_of(scope: Scope) -> list[str]:
    chain: list[str] = scope["extensions"]["tls"]["client_cert_chain"]
    return chain


def pems(chain: Sequence[Pair]) -> list[str]:
    return [pair.pem for pair in chain]


NAMES = {None: None, "direct": r"CN=Rhea Group,O=Money\, App,C=PT", "nested": "CN=Nested"}


class TestEveryKey:
    """ASGI specification, TLS extension 0.2: all six keys, on every connection that has TLS."""

    @pytest.mark.parametrize("client", [None, "direct", "nested"])
    @pytest.mark.parametrize("version", [TLS12, TLS13], ids=lambda version: str(version.name))
    @pytest.mark.parametrize("kind", ["http", "wss"])
    @pytest.mark.parametrize("name", SETTINGS)
    def test_says_what_was_negotiated(
        self, fleet: Fleet, keys: Keys, name: str, kind: str, version: ssl.TLSVersion, client: str | None
    ) -> None:
        """The chain is as the client sent it, leaf first; names and numbers are those that both ends agreed on."""
        seen = ask(kind, fleet[name], keys.client(client, version=version))

        assert set(seen.tls) == {
            "server_cert",
            "client_cert_chain",
            "client_cert_name",
            "client_cert_error",
            "tls_version",
            "cipher_suite",
        }
        assert seen.tls["server_cert"] == keys.server.pem
        assert seen.server_certificate == keys.server.certificate.public_bytes(Encoding.DER)
        assert seen.tls["client_cert_chain"] == pems(keys.clients[client] if client else ())
        assert seen.tls["client_cert_name"] == NAMES[client]
        assert seen.tls["client_cert_error"] is None
        assert seen.tls["tls_version"] == {"TLSv1.2": 0x0303, "TLSv1.3": 0x0304}[seen.version]
        assert seen.tls["cipher_suite"] == IANA[seen.cipher]
        assert seen.scope["type"] == ("websocket" if kind == "wss" else "http")
        assert seen.scope["scheme"] == ("wss" if kind == "wss" else "https")

    @pytest.mark.parametrize("kind", ["http", "wss"])
    @pytest.mark.parametrize("name", SETTINGS)
    def test_the_servers_are_what_their_names_say(self, fleet: Fleet, keys: Keys, name: str, kind: str) -> None:
        """The classes stand on httptools or h11, on websockets or wsproto, on asyncio or uvloop."""
        machinery = ask(kind, fleet[name], keys.client()).scope["machinery"]

        assert machinery["loop"].partition(".")[0] == SETTINGS[name].loop
        assert SETTINGS[name].machinery[kind == "wss"] in machinery["protocol"]

    @pytest.mark.parametrize("cipher", TLS12_CIPHERS)
    @pytest.mark.parametrize("name", ["httptools-uvloop", "serve-asyncio"])
    def test_the_cipher_suite_of_tls_1_2_is_its_number_at_iana(
        self, fleet: Fleet, keys: Keys, name: str, cipher: str
    ) -> None:
        """OpenSSL's own name of the cipher never reaches the app."""
        context = keys.client(version=TLS12, ciphers=cipher)

        seen = ask("http", fleet[name], context)

        assert (seen.cipher, seen.tls["cipher_suite"]) == (cipher, IANA[cipher])

    @pytest.mark.parametrize("cipher", TLS13_CIPHERS)
    def test_the_cipher_suite_of_tls_1_3_is_its_number_at_iana(self, fleet: Fleet, keys: Keys, cipher: str) -> None:
        """Python's clients cannot choose among the suites of TLS 1.3; OpenSSL's own can."""
        certificate, key = keys.identity("direct")
        # Quiet, it also goes on after the end of its input, until the server closes.
        command = [
            find_program("openssl", "openssl"),
            "s_client",
            "-quiet",
            "-connect",
            f"127.0.0.1:{fleet['h11-uvloop'].port}",
        ]
        options = ["-tls1_3", "-ciphersuites", cipher, "-cert", str(certificate), "-key", str(key)]
        request = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

        said = subprocess.run(
            [*command, *options], input=request, capture_output=True, text=True, timeout=20, check=False
        )
        tls = json.loads(said.stdout.rpartition("\n")[2])["extensions"]["tls"]

        assert (tls["tls_version"], tls["cipher_suite"]) == (0x0304, IANA[cipher])
        assert tls["client_cert_chain"] == pems(keys.clients["direct"])

    @pytest.mark.parametrize("name", ["httptools-uvloop", "h11-asyncio", "serve-uvloop"])
    def test_a_certificate_that_only_openssl_can_read_has_an_error_and_no_name(
        self, fleet: Fleet, keys: Keys, name: str
    ) -> None:
        """`client_cert_error` says why, and the chain is there all the same, for whoever wants to look."""
        tls = ask("http", fleet[name], keys.client("odd")).tls

        assert tls["client_cert_chain"] == pems(keys.clients["odd"])
        assert tls["client_cert_name"] is None
        assert "unreadable certificate" in tls["client_cert_error"]


class TestWithoutTLS:
    """ "If a connection has no TLS, the extension must not be there": its presence is the sign of TLS."""

    @pytest.mark.parametrize("http", ["HTTPProtocol", "H11Protocol"])
    def test_the_extension_is_absent_on_plain_http(self, tmp_path: Path, http: str) -> None:
        """The socket's peer is recorded there as well."""
        port = find_port()
        with running(uvicorn(port, http=http), port, tmp_path):
            with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as plain:
                address = list(plain.getsockname())
                plain.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                with plain.makefile("rb") as answers:
                    scope = receive(answers)
            with connect(f"ws://127.0.0.1:{port}/", proxy=None, open_timeout=SECONDS) as websocket:
                framed = json.loads(websocket.recv(timeout=SECONDS))

        assert "tls" not in scope["extensions"]
        assert "tls" not in framed["extensions"]
        assert scope["extensions"][PEER] == {"client": address}
        assert framed["extensions"][PEER]["client"][0] == "127.0.0.1"

    def test_the_other_extensions_of_the_server_stay(self, fleet: Fleet, keys: Keys) -> None:
        """A WebSocket that is refused with a whole answer needs `websocket.http.response`."""
        extensions = ask("wss", fleet["httptools-asyncio"], keys.client()).scope["extensions"]

        assert {"tls", PEER, "websocket.http.response"} <= set(extensions)

    def test_a_unix_socket_has_no_peer_address(self) -> None:
        """None, and not an address that somebody else could have."""

        class Transport:
            def get_extra_info(self, name: str) -> str | None:
                return "" if name == "peername" else None

        assert describe_connection(Transport(), None) == {PEER: {"client": None}}  # type: ignore[arg-type]


def test_a_server_that_never_asks_hands_over_no_certificate(keys: Keys, tmp_path: Path) -> None:
    """TLS without `--ssl-cert-reqs`: the extension is there, and its chain is empty."""
    port = find_port()
    with running(uvicorn(port, *keys.serving), port, tmp_path) as server:
        tls = ask("http", server, keys.client("direct")).tls

    assert tls["client_cert_chain"] == []
    assert tls["client_cert_name"] is None
    assert tls["client_cert_error"] is None


class TestSocketPeer:
    """`scope["client"]` is whatever the server makes of headers; the recorded peer is the other end of the socket."""

    @pytest.mark.parametrize("kind", ["http", "wss"])
    @pytest.mark.parametrize("name", UVICORN)
    def test_stays_true_where_uvicorn_believes_forwarding_headers(
        self, fleet: Fleet, keys: Keys, name: str, kind: str
    ) -> None:
        """uvicorn's own default is to believe anybody on loopback."""
        seen = ask(kind, fleet[name], keys.client())

        assert seen.scope["client"] == [FORWARDED, 0]
        assert seen.scope["extensions"][PEER] == {"client": seen.address}

    @pytest.mark.parametrize("kind", ["http", "wss"])
    @pytest.mark.parametrize("name", SERVE)
    def test_is_the_client_itself_under_keyfob_serve(self, fleet: Fleet, keys: Keys, name: str, kind: str) -> None:
        """Nobody stands between, so nobody's headers are believed."""
        seen = ask(kind, fleet[name], keys.client())

        assert seen.scope["client"] == seen.address
        assert seen.scope["extensions"][PEER] == {"client": seen.address}


class TestConnections:
    """A certificate belongs to a connection: to all of it, and to no other."""

    @pytest.mark.parametrize("name", SETTINGS)
    def test_two_requests_on_one_connection_carry_the_same_certificate(
        self, fleet: Fleet, keys: Keys, name: str
    ) -> None:
        """Keep-alive: the second request after the first one's answer."""
        with open_tls(fleet[name], keys, "nested") as tls, tls.makefile("rb") as answers:
            chains = []
            for _ in range(2):
                send(tls)
                chains.append(chain_of(receive(answers)))

        assert chains == [pems(keys.clients["nested"])] * 2

    @pytest.mark.parametrize("name", SETTINGS)
    def test_pipelined_requests_carry_the_same_certificate(self, fleet: Fleet, keys: Keys, name: str) -> None:
        """All requests are sent before any answer is read; the server queues them."""
        with open_tls(fleet[name], keys, "direct") as tls, tls.makefile("rb") as answers:
            send(tls, times=3)
            chains = [chain_of(receive(answers)) for _ in range(3)]

        assert chains == [pems(keys.clients["direct"])] * 3

    @pytest.mark.parametrize("name", SETTINGS)
    def test_certificates_never_mix_between_connections(self, fleet: Fleet, keys: Keys, name: str) -> None:
        """Six connections with three identities at once; requests interleave, some of them pipelined."""
        clients = ["direct", None, "nested"] * 2
        with ExitStack() as stack:
            opened = [stack.enter_context(open_tls(fleet[name], keys, client)) for client in clients]
            readers = [stack.enter_context(tls.makefile("rb")) for tls in opened]
            for turn in range(4):
                for tls in opened:
                    send(tls, times=1 + turn % 2)
                for client, reader in zip(clients, readers, strict=True):
                    for _ in range(1 + turn % 2):
                        assert chain_of(receive(reader)) == pems(keys.clients[client] if client else ())


def open_tls(server: Running, keys: Keys, client: str | None, version: ssl.TLSVersion = TLS13) -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", server.port), timeout=SECONDS)
    return keys.client(client, version).wrap_socket(plain, server_hostname="localhost")


@pytest.mark.parametrize("version", [TLS12, TLS13], ids=lambda version: str(version.name))
@pytest.mark.parametrize("name", SERVE)
def test_a_handshake_that_openssl_ends_is_one_line_of_the_audit_log(
    fleet: Fleet, keys: Keys, name: str, version: ssl.TLSVersion
) -> None:
    """The event loop keeps such a handshake to itself; whoever runs the server wants to know."""
    server = fleet[name]
    before = server.said().count('"handshake-refused"')

    # With TLS 1.3 the client is done before the server has looked: it learns from the next word, or from silence.
    with contextlib.suppress(OSError), open_tls(server, keys, "stranger", version) as tls:
        send(tls)
        assert tls.recv(1) == b""

    deadline = time.monotonic() + 10
    while server.said().count('"handshake-refused"') == before and time.monotonic() < deadline:
        time.sleep(0.02)
    # One more connection, whole: whatever else the refused one had to say is said by now.
    assert ask("http", server, keys.client()).tls["client_cert_chain"] == []
    assert server.said().count('"handshake-refused"') == before + 1


class TestServerCertificate:
    """`server_cert` is the certificate that the server presented on this connection."""

    def test_is_the_renewed_one_once_keyfob_serve_presents_it(self, keys: Keys, tmp_path: Path) -> None:
        """While a renewal is half done, the old one is presented and said; after it, the new one."""
        renewed = make_server(keys.issuer)
        for suffix in ("ca.pem", "server.pem", "server-key.pem"):
            (tmp_path / suffix).write_bytes((keys.folder / suffix).read_bytes())
        (tmp_path / "access.toml").write_text(EVERYONE, encoding="utf-8")
        port, files = find_port(), ["--certificate", "server.pem", "--key", "server-key.pem"]
        command = keyfob("serve", "echo_app:app", "--config", "access.toml", *files, "--port", str(port))
        with running(command, port, tmp_path) as server:
            (tmp_path / "server.pem").write_text(renewed.pem, encoding="ascii")
            halfway = ask("http", server, keys.client())
            renewed.write(tmp_path, "server")
            after = ask("http", server, keys.client())

        assert halfway.server_certificate == keys.server.certificate.public_bytes(Encoding.DER)
        assert after.server_certificate == renewed.certificate.public_bytes(Encoding.DER)
        assert after.tls["server_cert"] == renewed.pem
        assert halfway.tls["server_cert"] == keys.server.pem

    def test_stays_the_one_that_uvicorn_read_at_its_start(self, keys: Keys, tmp_path: Path) -> None:
        """uvicorn's own context reads its files once, so what lies there later was never presented."""
        keys.server.write(tmp_path, "server")
        port, tls = find_port(), ["--ssl-certfile", "server.pem", "--ssl-keyfile", "server-key.pem"]
        with running(uvicorn(port, *tls), port, tmp_path) as server:
            ask("http", server, keys.client())
            make_server(keys.issuer).write(tmp_path, "server")
            seen = ask("http", server, keys.client())

        assert seen.server_certificate == keys.server.certificate.public_bytes(Encoding.DER)
        assert seen.tls["server_cert"] == keys.server.pem


class TestStockServer:
    """An app behind AccessMiddleware on a uvicorn that cannot feed it does not start: an error, and not a warning."""

    APP = (
        "from starlette.applications import Starlette\n"
        "from keyfob import AccessMiddleware\n"
        "app = Starlette()\n"
        "app.add_middleware(AccessMiddleware, roots={roots!r})\n"
    )

    OPTIONS: ClassVar[dict[str, list[str]]] = {
        "--http": ["keyfob.server.uvicorn:HTTPProtocol"],
        "--ws": ["keyfob.server.uvicorn:WebSocketProtocol"],
        "--ssl-certfile": ["server.pem"],
        "--ssl-keyfile": ["server-key.pem"],
        "--ssl-ca-certs": ["ca.pem"],
        "--ssl-cert-reqs": ["1"],
    }

    @pytest.mark.parametrize(
        ("without", "said"),
        [
            (["--http"], "keeps client certificates to itself (HttpToolsProtocol)"),
            (["--ws"], "keeps client certificates to itself (WebSocketsSansIOProtocol)"),
            (["--ssl-ca-certs"], "knows no CA"),
            (["--ssl-cert-reqs"], "never asks for a client certificate"),
            (["--ssl-certfile", "--ssl-keyfile"], "never asks for a client certificate"),
            (list(OPTIONS), "never asks for a client certificate"),
        ],
        ids=" ".join,
    )
    def test_a_server_without_one_of_the_options_ends(
        self, keys: Keys, tmp_path: Path, without: list[str], said: str
    ) -> None:
        """And the hint is the whole command, so that following it is the cure."""
        for name in ("ca.pem", "server.pem", "server-key.pem"):
            (tmp_path / name).write_bytes((keys.folder / name).read_bytes())
        options = [word for name, value in self.OPTIONS.items() if name not in without for word in (name, *value)]

        ended = self.start(tmp_path, keys.authority, *options)

        assert ended.returncode not in {0, None}
        assert said in ended.stderr
        assert "hint: start it with `keyfob serve" in ended.stderr
        assert [name for name in self.OPTIONS if name not in ended.stderr] == []
        assert "Traceback" not in ended.stderr

    def test_a_ca_file_that_cannot_be_read_ends_it_too(self, keys: Keys, tmp_path: Path) -> None:
        """Starlette builds its middleware when the server starts; a problem found there has to stop the server."""
        asking = ["--ssl-cert-reqs", "1", "--ssl-ca-certs", str(keys.authority)]

        ended = self.start(tmp_path, tmp_path / "missing.pem", *keys.serving, *asking)

        assert ended.returncode not in {0, None}
        assert "missing.pem" in ended.stderr

    def start(self, folder: Path, roots: Path, *options: str) -> "subprocess.CompletedProcess[str]":
        """Runs uvicorn until it ends; a server that stays is a failure."""
        (folder / "guarded.py").write_text(self.APP.format(roots=str(roots)), encoding="utf-8")
        command = [sys.executable, "-m", "uvicorn", "guarded:app", "--port", str(find_port()), *options]
        return subprocess.run(
            command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=SECONDS, check=False
        )
