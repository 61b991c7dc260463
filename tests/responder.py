"""OCSP responders for tests: one whose every answer can be made right or wrong, and OpenSSL's own."""

import contextlib
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from certificates import Extensions, Pair, make_leaf
from servers import find_program

GOOD, REVOKED, UNKNOWN = ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED, ocsp.OCSPCertStatus.UNKNOWN
SIGNING = ExtendedKeyUsageOID.OCSP_SIGNING
HOUR = timedelta(hours=1)


def make_delegate(issuer: Pair, *, extensions: Extensions = ()) -> Pair:
    """A responder's certificate by `issuer`, for answering and nothing else."""
    return make_leaf(issuer, "Responder", usages=[SIGNING], extensions=[(x509.OCSPNoCheck(), False), *extensions])


def make_answer(
    certificate: x509.Certificate,
    issuer: Pair,
    *,
    status: ocsp.OCSPCertStatus = GOOD,
    signer: Pair | None = None,
    sent: Sequence[Pair] | None = None,
    now: datetime | None = None,
    begins: timedelta = timedelta(),
    ends: timedelta | None = HOUR,
    by_key: bool = False,
    named: hashes.HashAlgorithm | None = None,
    signed: hashes.HashAlgorithm | None = None,
    extensions: Extensions = (),
) -> bytes:
    """A response, DER, by `signer` (the issuer itself unless said); `begins` and `ends` are relative to `now`.

    `named` is the hash of the certID and `signed` that of the signature. `sent` is what goes along: the signer's own
    certificate, where it is not the issuer.
    """
    signer = signer or issuer
    now = (now or datetime.now(UTC)).replace(microsecond=0)
    along = [signer] if sent is None and signer is not issuer else sent or []
    encoding = ocsp.OCSPResponderEncoding.HASH if by_key else ocsp.OCSPResponderEncoding.NAME
    builder = (
        ocsp.OCSPResponseBuilder()
        .add_response(
            certificate,
            issuer.certificate,
            named or hashes.SHA1(),  # noqa: S303 - what responders name certificates by
            status,
            now + begins,
            None if ends is None else now + ends,
            now + begins if status is REVOKED else None,
            x509.ReasonFlags.key_compromise if status is REVOKED else None,
        )
        .responder_id(encoding, signer.certificate)
    )
    if along:
        builder = builder.certificates([each.certificate for each in along])
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    algorithm = None if isinstance(signer.key, ed25519.Ed25519PrivateKey) else signed or hashes.SHA256()
    return builder.sign(signer.key, algorithm).public_bytes(Encoding.DER)


@dataclass
class Answering:
    """A responder that is up. Change its fields while it runs; `asked` are the serial numbers it was asked about."""

    issuer: Pair
    certificates: Mapping[int, x509.Certificate]
    port: int
    tls: bool = False
    signer: Pair | None = None
    statuses: dict[int, ocsp.OCSPCertStatus] = field(default_factory=dict)
    life: timedelta | None = HOUR
    body: Callable[[bytes], bytes] | None = None
    """Makes the whole body instead, from the request's."""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    hold: threading.Event | None = None
    """Answers when this is set."""
    drip: float = 0
    """Seconds between two bytes of the body."""
    asked: list[int] = field(default_factory=list)
    heard: list[Mapping[str, str]] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}" if self.tls else f"http://127.0.0.1:{self.port}"

    def answer(self, der: bytes) -> bytes:
        if self.body is not None:
            return self.body(der)
        serial = ocsp.load_der_ocsp_request(der).serial_number
        certificate, status = self.certificates[serial], self.statuses.get(serial, GOOD)
        return make_answer(certificate, self.issuer, status=status, signer=self.signer, ends=self.life)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    answering: Answering

    def do_POST(self) -> None:
        this = self.answering
        der = self.rfile.read(int(self.headers["Content-Length"]))
        this.asked.append(ocsp.load_der_ocsp_request(der).serial_number)
        this.heard.append({**dict(self.headers.items()), ":path": self.path})
        if this.hold is not None:
            this.hold.wait(60)
        body = this.answer(der)
        self.send_response(this.status)
        for name, value in {"Content-Type": "application/ocsp-response", **this.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self._send(body)

    def _send(self, body: bytes) -> None:
        if not self.answering.drip:
            self.wfile.write(body)
            return
        for each in body:
            self.wfile.write(bytes([each]))
            if self.answering.ended.wait(self.answering.drip):
                return

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the library's
        """A test reads `asked`."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Whoever asked may have gone before the answer."""


@contextlib.contextmanager
def answering(
    issuer: Pair, *asked_about: Pair, port: int = 0, tls: ssl.SSLContext | None = None
) -> Iterator[Answering]:
    """A responder on loopback that answers for the certificates given."""

    class Handler(_Handler):
        pass

    with _Server(("127.0.0.1", port), Handler) as server:
        known = {each.certificate.serial_number: each.certificate for each in asked_about}
        this = Answering(issuer, known, server.server_address[1], tls is not None)
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        Handler.answering = this
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield this
        finally:
            this.ended.set()
            if this.hold is not None:
                this.hold.set()
            server.shutdown()
            thread.join()


@dataclass(frozen=True)
class Index:
    """The index file of `openssl ca`, which `openssl ocsp` answers from; it reads the file again when it changes."""

    file: Path
    issuer: Pair

    def write(self, *good: Pair, revoked: Sequence[Pair] = ()) -> None:
        lines = [self._line(each, "V", "") for each in good]
        lines += [self._line(each, "R", f"{datetime.now(UTC) - HOUR:%y%m%d%H%M%S}Z,keyCompromise") for each in revoked]
        fresh = self.file.with_suffix(".new")
        fresh.write_text("".join(lines), encoding="ascii")
        fresh.replace(self.file)

    def _line(self, pair: Pair, letter: str, when: str) -> str:
        certificate = pair.certificate
        serial = f"{certificate.serial_number:X}"
        serial = serial.zfill(len(serial) + len(serial) % 2)
        return f"{letter}\t{certificate.not_valid_after_utc:%y%m%d%H%M%S}Z\t{when}\t{serial}\tunknown\t/CN=device\n"


@contextlib.contextmanager
def openssl_answering(folder: Path, index: Index, signer: Pair, *options: str) -> Iterator[str]:
    """The URL of a responder on loopback whose every answer is made by `openssl ocsp`; write `index` before.

    Its own `-port` would listen to everybody.
    """
    certificate, key = signer.write(folder, "responder")
    authority, _ = index.issuer.write(folder, "issuer")
    command = [find_program("openssl", "openssl"), "ocsp", "-index", str(index.file), "-CA", str(authority)]
    command += ["-rsigner", str(certificate), "-rkey", str(key), *options]

    class Handler(_Handler):
        def do_POST(self) -> None:
            with tempfile.TemporaryDirectory(dir=folder) as place:
                asked, answer = Path(place, "asked"), Path(place, "answer")
                asked.write_bytes(self.rfile.read(int(self.headers["Content-Length"])))
                subprocess.run(
                    [*command, "-reqin", str(asked), "-respout", str(answer)], check=True, capture_output=True
                )
                body = answer.read_bytes()
            self.send_response(200)
            self.send_header("Content-Type", "application/ocsp-response")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with _Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def wait_until(told: Callable[[], object], seconds: float = 30) -> None:
    """Returns as soon as `told()` is true; raises TimeoutError where it never is."""
    end = time.monotonic() + seconds
    while not told():
        if time.monotonic() > end:
            raise TimeoutError("it never came to be")
        time.sleep(0.01)
