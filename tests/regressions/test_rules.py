"""What is read in several ways, or by nobody, opens no door."""

import asyncio
import io
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flask
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

import keyfob.asgi
from certificates import Pair, make_authority, make_certificate, make_leaf, make_name
from exchanges import ask, make_scope
from keyfob import AccessMiddleware, requires
from keyfob.attendance import attend
from keyfob.config.devices import UnusableDevices, read_devices
from keyfob.errors import Missing, Reason, Untrusted
from keyfob.policy import Allow, Deny, Identity
from keyfob.trust import Roots, Verifier
from keyfob.wsgi import AccessMiddleware as WSGIAccessMiddleware
from sites import HOST, assemble, write_application, write_document, write_policy
from situations import AT, device, judge

ROOT = make_authority()
PHONE = make_leaf(ROOT)
OPEN = write_policy({"everyone": {}}, name="open", decision="bypass")
PRINT = "6A2F8E0D4C1B9A7F5E3D2C1B0A9F8E7D6C5B4A39281706F5E4D3C2B1A0998877"
COLONS = ":".join(PRINT[at : at + 2] for at in range(0, 64, 2))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    ROOT.write(tmp_path, "ca")
    return tmp_path


# --- Lists of devices -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        f"sha256 Fingerprint={COLONS}",
        f"SHA1 Fingerprint={COLONS[:59]}",
        f"MD5 Fingerprint={COLONS[:47]}",
        f"Fingerprint={COLONS}",
        f"SHA256:{PRINT}",
        f"{PRINT}  # stolen",
        "Rhea Group # stolen",
        "Rhea Group\t# stolen",
        "CN=Rhea Group",
        "cn = Rhea Group",
        "serial=0A1B2C",
        PRINT[:40],
        COLONS[:59],
        COLONS.replace(":", " "),
        f"{PRINT},",
        '"Rhea Group"',
        "'Rhea Group'",
    ],
)
def test_what_looks_like_something_else_is_no_name(tmp_path: Path, line: str) -> None:
    """No device has such a name, and whoever was to be shut out by it would not be."""
    path = tmp_path / "devices.txt"
    path.write_text(f"A\n{line}\n")
    with pytest.raises(UnusableDevices, match="line 2: no name, but it looks like something else") as raised:
        read_devices(path)
    assert raised.value.hint


# --- Paths and names --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/item/+12",
        "/item/1_2",
        "/item/ 12",
        "/item/12 ",
        "/item/\u00a012",
        "/item/١٢",
        "/item/\uff11\uff12",
        "/item/१2",
    ],
)
def test_a_number_in_another_spelling_opens_nothing(folder: Path, path: str) -> None:
    """Python's int, and so the frameworks' convertors, take it for the same."""
    applications = [write_application(OPEN), write_application(domain=f"{HOST}/item/12")]
    gate = assemble(folder, write_document(*applications)).gate
    decision = gate.check(gate.source.receive(make_scope(path=path, raw_path=path.encode()), AT))
    assert isinstance(decision, Deny)
    assert decision.reason is Reason.PATH_AMBIGUOUS
    other = gate.check(gate.source.receive(make_scope(path="/item/+13", raw_path=b"/item/+13"), AT))
    assert isinstance(other, Allow)


@pytest.mark.parametrize("name", ["evil.com\0.example.com", "evil.com .example.com"])
def test_a_name_that_some_read_to_its_middle_meets_no_rule(name: str) -> None:
    """It ends as the rule says for us, and is another one for whoever stops at the NUL."""
    names = x509.SubjectAlternativeName([x509.DNSName(name)])
    rule = {"san": {"dns": {"ends_with": ".example.com"}}}
    assert judge(rule, device("a", extensions=[(names, False)])) is None


# --- Keys that cost too much ------------------------------------------------------------------------------------------

SOUND = rsa.generate_private_key(65537, 2048)


def make_costly(exponent: int, modulus: int) -> str:
    """An authority's certificate with this key, which nobody need have."""
    key = rsa.RSAPublicNumbers(exponent, modulus).public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(make_name("Costly"))
        .issuer_name(ROOT.certificate.subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(ROOT.certificate.not_valid_before_utc)
        .not_valid_after(ROOT.certificate.not_valid_after_utc)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    return builder.sign(ROOT.key, hashes.SHA256()).public_bytes(Encoding.PEM).decode("ascii")


MODULUS = SOUND.public_key().public_numbers().n


@pytest.mark.parametrize(
    ("exponent", "modulus"),
    [(2**32 + 1, MODULUS), (2**2000 + 1, MODULUS), (65537, 2**8192 + 1)],
    ids=["exponent", "huge exponent", "modulus"],
)
def test_an_authority_that_costs_too_much_is_not_looked_at(exponent: int, modulus: int) -> None:
    """A stranger may send nine of them, and each would be tried with each."""
    verifier = Verifier(Roots((ROOT.certificate,), ()))
    for leaf in (PHONE, make_leaf(None)):
        with pytest.raises(Untrusted, match="too costly to look at"):
            verifier.verify([leaf.pem, make_costly(exponent, modulus)], AT)
    assert verifier.verify([PHONE.pem, make_costly(65537, MODULUS)], AT)


def test_what_the_operators_own_file_costs_is_his_business() -> None:
    """Nobody else has put it there."""
    numbers, exponent = SOUND.private_numbers(), 2**32 + 15
    p, q = numbers.p, numbers.q
    private = pow(exponent, -1, (p - 1) * (q - 1))
    public = rsa.RSAPublicNumbers(exponent, MODULUS)
    coefficients = private % (p - 1), private % (q - 1), numbers.iqmp
    key = rsa.RSAPrivateNumbers(p, q, private, *coefficients, public).private_key(unsafe_skip_rsa_key_validation=True)
    basic = (x509.BasicConstraints(ca=True, path_length=None), True)
    costly = make_certificate(make_name("Costly"), ROOT, [basic], key=key)
    leaf = make_leaf(costly)
    for chain in ([leaf.pem], [leaf.pem, costly.pem]):
        assert Verifier(Roots((ROOT.certificate,), (costly.certificate,))).verify(chain, AT)
    with pytest.raises(Untrusted, match="too costly to look at"):
        Verifier(Roots((ROOT.certificate,), ())).verify([leaf.pem, costly.pem], AT)


# --- Handlers ---------------------------------------------------------------------------------------------------------


def write_config(folder: Path, source: str = 'kind = "tls"') -> Path:
    path = folder / "access.toml"
    path.write_text(f"""
source = {{ {source} }}
[[root_certificates]]
name = "R"
certificate = "ca.pem"
associated_hostnames = ["{HOST}"]
[[applications]]
name = "A"
domain = "{HOST}"
policies = [{{ name = "p", decision = "non_identity", include = [{{ certificate = {{}} }}] }}]
""")
    return path


def test_a_rule_that_nobody_can_tell_lets_nobody_in(folder: Path) -> None:
    """A header that came twice has no value."""

    @requires({"header": {"name": "X-Role", "value": "boss"}})
    async def page(_: Request) -> Response:
        return PlainTextResponse("in")

    door = AccessMiddleware(Starlette(routes=[Route("/", page)]), config=write_config(folder))
    role = (b"x-role", b"boss")
    assert ask(door, make_scope([PHONE.pem], headers=[role])).status == 200
    assert ask(door, make_scope([PHONE.pem], headers=[role, role])).status == 403


def test_a_handler_of_wsgi_sees_the_header_without_http_before_it(folder: Path) -> None:
    """PEP 3333 names CONTENT_TYPE so; an exclusion by it would never hold otherwise."""
    app = flask.Flask("page")

    @app.get("/")
    @requires({"everyone": {}}, exclude=[{"header": {"name": "Content-Type", "value": "text/xml"}}])
    def page() -> str:
        return "in"

    door = WSGIAccessMiddleware(app, gate=assemble(folder, write_document(write_application(OPEN))).gate)
    assert call(door, {}) == "200"
    assert call(door, {"CONTENT_TYPE": "text/plain"}) == "200"
    assert call(door, {"CONTENT_TYPE": "text/xml"}) == "403"


def test_an_open_websocket_keeps_the_certificate_that_came_in_a_header(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each further look at it is at the headers as they arrived, not as the app has them."""
    looks: list[Deny | None] = []

    async def look_and_attend(
        app: Any, scope: Scope, receive: Receive, send: Send, find_refusal: Callable[[], Deny | None]
    ) -> None:
        looks.append(find_refusal())

    monkeypatch.setattr(keyfob.asgi, "attend", look_and_attend)
    source = 'kind = "header", format = "rfc9440", proxy_verifies = true, trusted_proxies = ["127.0.0.1"]'
    door = AccessMiddleware(echo, config=write_config(folder, source))
    ask(door, make_scope(kind="websocket", headers=[(b"client-cert", spell(PHONE))]))
    assert looks == [None]


def test_a_message_that_the_server_refuses_ends_no_attendance() -> None:
    """The app may go on after it, and so may the device, long after it was withdrawn."""
    sent: list[Message] = []
    deny = Deny(Reason.CERTIFICATE_REVOKED, "A", "", Identity(None, Missing("gone"), ()))

    async def app(_: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        with pytest.raises(RuntimeError, match="no such message"):
            await send({"type": "websocket.ping"})
        await receive()

    async def send(message: Message) -> None:
        if message["type"] == "websocket.ping":
            raise RuntimeError("no such message")
        sent.append(message)

    async def receive() -> Message:
        await asyncio.sleep(20)
        return {"type": "websocket.receive", "text": "still here"}

    asyncio.run(attend(app, {"type": "websocket"}, receive, send, lambda: deny, 0.01))
    assert [message["type"] for message in sent] == ["websocket.accept", "websocket.close"]


async def echo(_: Scope, receive: Receive, send: Send) -> None:
    """An app that is not reached."""


def spell(pair: Pair) -> bytes:
    """RFC 9440 section 2.1: the DER as a byte sequence of structured fields."""
    return b":" + b64encode(pair.certificate.public_bytes(Encoding.DER)) + b":"


def call(app: Any, more: dict[str, str]) -> str:
    """The status that a WSGI app answers with."""
    statuses: list[str] = []
    environ = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/",
        "RAW_URI": "/",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "443",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": HOST,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "https",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    list(app(environ | more, lambda status, headers, error=None: statuses.append(status)))
    return statuses[0][:3]
