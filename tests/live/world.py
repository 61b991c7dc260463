"""A server whose configuration changes while it runs, and the devices that keep their connections to it open."""

import http.client
import shlex
import ssl
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from certificates import Extensions, Pair, make_authority, make_leaf, make_server
from servers import Running, environment, find_port, keyfob, make_client, running

# Long enough for a busy machine; nothing waits for it on a quiet one.
SECONDS = 30

ANY_DEVICE = 'decision = "non_identity", include = [{ certificate = {} }]'
NOBODY = 'decision = "deny", include = [{ everyone = {} }]'
LISTED = 'decision = "non_identity", include = [{ device_list = { file = "devices.txt" } }]'

_RULES = """\
source = {{ kind = "tls" }}

[[root_certificates]]
name = "First"
certificate = "ca.pem"
associated_hostnames = ["localhost"]
{crl}
{second}

[[applications]]
name = "App"
domain = "localhost"
policies = [{{ name = "Devices", {policy} }}]

[[applications]]
name = "Health"
domain = "localhost/health"
policies = [{{ name = "Anybody", decision = "bypass", include = [{{ everyone = {{}} }}] }}]
"""
_SECOND = '[[root_certificates]]\nname = "Second"\ncertificate = "second.pem"\nassociated_hostnames = ["localhost"]'

_UVICORN = (
    "uvicorn live.apps:app --port {port} --http keyfob.server.uvicorn:HTTPProtocol "
    "--ws keyfob.server.uvicorn:WebSocketProtocol --ssl-certfile server.pem --ssl-keyfile server-key.pem "
    "--ssl-ca-certs both.pem --ssl-cert-reqs 1 --workers 2 --timeout-graceful-shutdown 1"
)
_GUNICORN = (
    "gunicorn live.apps -b 127.0.0.1:{port} --no-control-socket -k gthread --threads 16 --keep-alive 60 --workers 2 "
    "--graceful-timeout 1 --certfile server.pem --keyfile server-key.pem --ca-certs both.pem --cert-reqs 1"
)
COMMANDS = {
    "keyfob serve": "",
    "uvicorn": _UVICORN,
    "gunicorn": _GUNICORN,
    "gunicorn --preload": f"{_GUNICORN} --preload",
}
ASGI = ["keyfob serve", "uvicorn"]


@dataclass(frozen=True)
class World:
    """A folder with the keys of everybody: `device` and `second` are of the first CA, `newcomer` is of another one."""

    folder: Path
    authority: Pair
    device: Pair

    def client(self, name: str) -> ssl.SSLContext:
        """A TLS client that shows the certificate of this device."""
        return make_client(*self._find_files(name))

    def chatting_client(self, name: str) -> ssl.SSLContext:
        """The same, for WebSockets by threads: of TLS 1.2, since these write and read one TLS object at once.

        In TLS 1.3 the first thing to read is the server's ticket, and now and then what is written meanwhile is lost.
        """
        return make_client(*self._find_files(name), version=ssl.TLSVersion.TLSv1_2)

    def _find_files(self, name: str) -> tuple[Path, Path, Path]:
        return self.folder / "ca.pem", self.folder / f"{name}.pem", self.folder / f"{name}-key.pem"

    def write(self, name: str, content: str | bytes) -> None:
        """Puts a file in its place at once, as every careful program does it."""
        aside = self.folder / f"{name}.new"
        aside.write_bytes(content.encode() if isinstance(content, str) else content)
        aside.replace(self.folder / name)

    def allow(self, policy: str = ANY_DEVICE, *, second_root: bool = False, crl: bool = False) -> None:
        """Writes the rules anew."""
        second, lists = _SECOND if second_root else "", 'crl = ["ca.crl"]' if crl else ""
        self.write("access.toml", _RULES.format(policy=policy, second=second, crl=lists))

    def withdraw(self, *pairs: Pair) -> None:
        """Writes a CRL of the first CA that names these."""
        now = datetime.now(UTC)
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.authority.certificate.subject)
        builder = builder.last_update(now - timedelta(hours=1)).next_update(now + timedelta(days=1))
        for pair in pairs:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder()
                .serial_number(pair.certificate.serial_number)
                .revocation_date(now - timedelta(hours=1))
                .build()
            )
        self.write("ca.crl", builder.sign(self.authority.key, hashes.SHA256()).public_bytes(Encoding.PEM))


def make_strict_authority(name: str) -> tuple[Pair, Extensions]:
    """A root with what RFC 5280 asks of one, and what it writes into its certificates."""
    identifier = name.encode()
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    root = make_authority(name, extensions=[(usage, True), (x509.SubjectKeyIdentifier(identifier), False)])
    return root, [(x509.AuthorityKeyIdentifier(identifier, None, None), False)]


def make_world(folder: Path) -> World:
    """Keys and first rules: any device of the first CA."""
    # Python 3.13 makes gunicorn verify as strictly as RFC 5280 section 4.2 describes what CAs write.
    (authority, ours), (other, theirs) = make_strict_authority("Test CA"), make_strict_authority("Second CA")
    device = make_leaf(authority, "Rhea Group", extensions=ours)
    for name, pair in {
        "ca": authority,
        "second": other,
        "server": make_server(authority),
        "device": device,
        "spare": make_leaf(authority, "Spare", extensions=ours),
        "newcomer": make_leaf(other, "Newcomer", extensions=theirs),
    }.items():
        pair.write(folder, name)
    (folder / "both.pem").write_text(authority.pem + other.pem, encoding="ascii")
    world = World(folder, authority, device)
    world.write("devices.txt", "Rhea Group\n")
    world.withdraw()
    world.allow()
    return world


class Line:
    """One connection of a device, kept open; `worker` is the process that answers at its other end."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        self._connection = http.client.HTTPSConnection("localhost", port, context=context, timeout=SECONDS)
        try:
            self._connection.connect()
            self._socket = self._connection.sock
            self.worker = self.ask("/health")[1].partition(" ")[0]
        except BaseException:
            self._connection.close()
            raise

    def ask(self, path: str = "/") -> tuple[int, str]:
        """Status and body; the connection has to be the same one as ever."""
        response, body = self.request(path)
        return response.status, body

    def request(
        self, path: str, headers: Mapping[str, str] = MappingProxyType({})
    ) -> tuple[http.client.HTTPResponse, str]:
        """What was answered, and its body."""
        self._connection.request("GET", path, headers=dict(headers))
        response = self._connection.getresponse()
        body = response.read().decode()
        assert self._connection.sock is self._socket, "the server has ended the connection"
        return response, body

    def answers(self, status: int, path: str = "/") -> bool:
        return self.ask(path)[0] == status

    def close(self) -> None:
        self._connection.close()


@dataclass(frozen=True)
class Server:
    """A running server and the number of its worker processes."""

    name: str
    port: int
    workers: int

    def connect(self, context: ssl.SSLContext) -> list[Line]:
        """A connection to each worker."""
        lines: dict[str, Line] = {}
        deadline = time.monotonic() + SECONDS
        while len(lines) < self.workers:
            assert time.monotonic() < deadline, "a worker takes no connections"
            line = Line(self.port, context)
            if line.worker in lines:
                line.close()
            else:
                lines[line.worker] = line
        return list(lines.values())


def start(name: str, world: World) -> tuple[AbstractContextManager[Running], Server]:
    """The server of one of the COMMANDS, and what it will be when it runs."""
    port = find_port()
    if name == "keyfob serve":
        files = ["--config", "access.toml", "--certificate", "server.pem", "--key", "server-key.pem"]
        command: Sequence[str | Path] = keyfob("serve", "live.apps:open_app", *files, "--port", str(port))
        return running(command, port, world.folder, environment()), Server(name, port, 1)
    words = shlex.split(COMMANDS[name].format(port=port))
    rules = environment(RULES=str(world.folder / "access.toml"))
    return running([sys.executable, "-m", *words], port, world.folder, rules), Server(name, port, 2)


def wait_for(condition: Callable[[], object]) -> float:
    """Waits until it holds, and returns after how many seconds it did."""
    begin = time.monotonic()
    while not condition():
        assert time.monotonic() < begin + SECONDS, "it never came"
        time.sleep(0.02)
    return time.monotonic() - begin
