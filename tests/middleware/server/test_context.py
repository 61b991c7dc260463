"""The server's side of TLS, held against full handshakes: in memory, and with OpenSSL's own client."""

import contextlib
import json
import logging
import ssl
import subprocess
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from certificates import DAY, SERVER, Pair, make_authority, make_leaf, make_server
from keyfob.audit import Recorder
from keyfob.errors import ServeError
from keyfob.server.context import make_context
from keyfob.trust import Roots, read_roots
from rules import ANY_DEVICE
from servers import find_port, find_program, keyfob, make_client, running

TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
both_versions = pytest.mark.parametrize("version", [TLS12, TLS13], ids=lambda version: str(version.name))

Context = ssl.SSLContext


class Keys(NamedTuple):
    """A folder with `ca`, `server` and `device`, and the CA that signed both."""

    folder: Path
    authority: Pair
    server: Pair

    @property
    def roots(self) -> Roots:
        return read_roots(self.authority.pem.encode("ascii"))

    @property
    def certificate(self) -> Path:
        return self.folder / "server.pem"

    @property
    def key(self) -> Path:
        return self.folder / "server-key.pem"

    def context(self) -> Context:
        return make_context(self.certificate, self.key, lambda: self.roots, Recorder().refuse_handshake)

    def client(self, name: str | None = "device", version: ssl.TLSVersion = TLS13) -> Context:
        identity = (self.folder / f"{name}.pem", self.folder / f"{name}-key.pem") if name else ()
        return make_client(self.folder / "ca.pem", *identity, version=version)


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    authority = make_authority()
    server = make_server(authority)
    authority.write(tmp_path, "ca")
    server.write(tmp_path, "server")
    make_leaf(authority).write(tmp_path, "device")
    return Keys(tmp_path, authority, server)


class Shaken(NamedTuple):
    """Both ends of a finished handshake, after one word each way: a ticket of TLS 1.3 would have come with it."""

    client: ssl.SSLObject
    server: ssl.SSLObject

    @property
    def presented(self) -> bytes | None:
        """The server's certificate, DER."""
        return self.client.getpeercert(binary_form=True)


def shake(server: Context, client: Context, session: ssl.SSLSession | None = None) -> Shaken:
    """A handshake in memory. What either end raises is raised here, the server's first."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    theirs = client.wrap_bio(down, up, server_hostname="localhost", session=session)
    ours = server.wrap_bio(up, down, server_side=True)
    # The last flight of a resumed handshake is the client's, of a full one with TLS 1.2 the server's.
    for _ in range(4):
        _step(theirs.do_handshake)
        _step(ours.do_handshake)
    ours.write(b"server")
    theirs.write(b"client")
    assert (theirs.read(6), ours.read(6)) == (b"server", b"client")
    return Shaken(theirs, ours)


def _step(handshake: Callable[[], None]) -> None:
    with contextlib.suppress(ssl.SSLWantReadError):
        handshake()


def ordinary_context(keys: Keys) -> Context:
    """What a server usually has: it asks for a certificate, and it remembers."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(keys.certificate, keys.key)
    context.load_verify_locations(keys.folder / "ca.pem")
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


def resume(server: Context, client: Context) -> Shaken:
    """The second connection of a client that does what it can to be recognised."""
    # OpenSSL forgets the session of a connection that was dropped without a goodbye, so the first one stays open.
    first = shake(server, client)
    return shake(server, client, first.client.session)


class TestResumption:
    """A resumed session would bring a certificate back that nobody has looked at since."""

    @both_versions
    @pytest.mark.parametrize("tickets", [True, False], ids=["tickets", "session ids"])
    def test_nothing_is_resumed(self, keys: Keys, version: ssl.TLSVersion, tickets: bool) -> None:
        """Neither by ticket nor by session id; the chain is whole on every connection."""
        client = keys.client(version=version)
        if not tickets:
            client.options |= ssl.OP_NO_TICKET

        again = resume(keys.context(), client)

        assert not again.server.session_reused
        assert not again.client.session_reused
        assert again.server.getpeercert(binary_form=True) is not None

    @pytest.mark.parametrize(
        ("version", "tickets"), [(TLS12, True), (TLS12, False), (TLS13, True)], ids=["ticket", "session id", "TLS 1.3"]
    )
    def test_the_same_client_would_resume_elsewhere(self, keys: Keys, version: ssl.TLSVersion, tickets: bool) -> None:
        """The test above can fail: an ordinary server lets this client resume in each of these ways."""
        client = keys.client(version=version)
        if not tickets:
            client.options |= ssl.OP_NO_TICKET

        assert resume(ordinary_context(keys), client).server.session_reused

    @both_versions
    def test_nothing_is_resumed_while_the_files_are_broken_either(self, keys: Keys, version: ssl.TLSVersion) -> None:
        """What was read at the start goes on then, and forgets as well, or sends away whoever wants to resume."""
        context = keys.context()
        keys.certificate.write_text("broken", encoding="ascii")
        client = keys.client(version=version)

        first = shake(context, client)
        with contextlib.suppress(ssl.SSLError):
            assert not shake(context, client, first.client.session).server.session_reused

    def test_tls_1_3_hands_out_no_ticket(self, keys: Keys) -> None:
        """Whoever gets none cannot come back with one."""
        session = shake(keys.context(), keys.client()).client.session

        assert session is None or not session.has_ticket


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., str]]:
    """Runs `openssl s_client` against a server with the given options; returns everything it says."""
    folder, port, authority = tmp_path_factory.mktemp("served"), find_port(), make_authority()
    authority.write(folder, "ca")
    make_server(authority).write(folder, "server")
    make_leaf(authority).write(folder, "device")
    (folder / "access.toml").write_text(ANY_DEVICE, encoding="utf-8")
    files = ["--config", "access.toml", "--certificate", "server.pem", "--key", "server-key.pem"]

    def client(*options: str, say: str | None = None) -> str:
        command = [find_program("openssl", "openssl"), "s_client", "-connect", f"127.0.0.1:{port}", "-CAfile", "ca.pem"]
        # A request is waited for to the end of its answer; anything else is a command to the client itself.
        identity = ["-cert", "device.pem", "-key", "device-key.pem", *(["-ign_eof"] if say is None else [])]
        ended = subprocess.run(
            [*command, *identity, *options],
            cwd=folder,
            input=say or "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=20,
            check=False,
        )
        return ended.stdout

    with running(keyfob("serve", "echo_app:app", *files, "--port", str(port)), port, folder):
        yield client


class TestWithOpenSSL:
    """The same with real sockets, `keyfob serve` and OpenSSL's own client."""

    @pytest.mark.parametrize("options", [[], ["-no_ticket"]], ids=["tickets", "session ids"])
    def test_reconnecting_with_the_same_session_starts_anew(
        self, served: Callable[..., str], options: Sequence[str]
    ) -> None:
        """`-reconnect` comes back five times with the session that it has."""
        said = served("-tls1_2", "-reconnect", *options)

        assert said.count("New, TLSv1.2") == 6
        assert "Reused" not in said

    @pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
    def test_a_stored_session_is_of_no_use(self, served: Callable[..., str], version: str, tmp_path: Path) -> None:
        """`-sess_out` stores what the server gave, if it gave anything; `-sess_in` shows it again."""
        stored = tmp_path / "session.pem"

        first = served(version, "-sess_out", str(stored))
        again = served(version, *(["-sess_in", str(stored)] if stored.exists() else []))

        assert stored.exists() == (version == "-tls1_2")
        for said in (first, again):
            assert "HTTP/1.1 200 OK" in said
            assert "New, TLSv1." in said
            assert "Reused" not in said

    def test_renegotiation_is_refused(self, served: Callable[..., str]) -> None:
        """The client of a connection stays who it was at the handshake."""
        said = served("-tls1_2", say="R\n")

        assert "RENEGOTIATING" in said
        assert "no renegotiation" in said


class TestHandshake:
    """Who gets through the handshake, and with what."""

    @both_versions
    def test_a_client_without_a_certificate_gets_through(self, keys: Keys, version: ssl.TLSVersion) -> None:
        """Only the gate can tell it why it may not come in."""
        shaken = shake(keys.context(), keys.client(None, version))

        assert shaken.server.getpeercert(binary_form=True) is None

    @both_versions
    def test_a_device_of_the_ca_gets_through(self, keys: Keys, version: ssl.TLSVersion) -> None:
        """And the server has its certificate."""
        shaken = shake(keys.context(), keys.client("device", version))

        assert shaken.server.getpeercert(binary_form=True) == ssl.PEM_cert_to_DER_cert(
            (keys.folder / "device.pem").read_text(encoding="ascii")
        )

    def test_tls_1_1_is_refused(self, keys: Keys) -> None:
        """By the server's own limit: this client would take it, and its ciphers are there."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            client = make_client(keys.folder / "ca.pem", version=ssl.TLSVersion.TLSv1_1, ciphers="ALL:@SECLEVEL=0")

        with pytest.raises(ssl.SSLError, match=r"(?i)unsupported.protocol"):
            shake(keys.context(), client)

    def test_only_http_1_1_is_negotiated(self, keys: Keys) -> None:
        """uvicorn speaks nothing else, so a client must not believe in HTTP/2."""
        client = keys.client()
        client.set_alpn_protocols(["h2", "http/1.1"])

        assert shake(keys.context(), client).client.selected_alpn_protocol() == "http/1.1"

    def test_without_any_root_nobody_is_known(self, keys: Keys) -> None:
        """A configuration of bypass policies alone: clients without a certificate are served, strangers are not."""
        context = make_context(keys.certificate, keys.key, lambda: Roots((), ()), Recorder().refuse_handshake)

        assert shake(context, keys.client(None)).server.getpeercert(binary_form=True) is None
        with pytest.raises(ssl.SSLError):
            shake(context, keys.client())

    def test_the_roots_are_those_of_this_moment(self, keys: Keys) -> None:
        """A root that comes or goes counts from the next connection on, without another context."""
        present = [Roots((), ())]
        context = make_context(keys.certificate, keys.key, lambda: present[-1], Recorder().refuse_handshake)

        for roots, gets_through in ((Roots((), ()), False), (keys.roots, True), (Roots((), ()), False)):
            present.append(roots)
            if gets_through:
                assert shake(context, keys.client()).server.getpeercert(binary_form=True) is not None
            else:
                with pytest.raises(ssl.SSLError):
                    shake(context, keys.client())


def make_stranger(authority: Pair, kind: str) -> tuple[Pair, ...]:
    """A chain that OpenSSL refuses."""
    match kind:
        case "another CA":
            return (make_leaf(make_authority("Another CA")),)
        case "another CA of the same name":
            return (make_leaf(make_authority()),)
        case "self-signed":
            return (make_leaf(None),)
        case "expired":
            return (make_leaf(authority, begins=-2 * DAY, ends=timedelta(seconds=-1)),)
        case "not yet valid":
            return (make_leaf(authority, begins=DAY),)
        case "serverAuth only":
            return (make_leaf(authority, usages=[SERVER]),)
        case _:
            # Its issuer is a device's certificate, which must not sign.
            device = make_leaf(authority)
            return make_leaf(device, "Intruder"), device


STRANGERS = {
    "another CA": "unable to get local issuer certificate",
    "another CA of the same name": "certificate signature failure",
    "self-signed": "self-signed certificate",
    "expired": "certificate has expired",
    "not yet valid": "certificate is not yet valid",
    "serverAuth only": "unsuitable certificate purpose",
    "signed by a device": "invalid CA certificate",
}


class TestRefusedHandshake:
    """A certificate that OpenSSL cannot verify ends the handshake, and the audit log says so once."""

    @both_versions
    @pytest.mark.parametrize("kind", STRANGERS)
    def test_is_one_audit_record(
        self, keys: Keys, caplog: pytest.LogCaptureFixture, kind: str, version: ssl.TLSVersion
    ) -> None:
        """A line of JSON at WARNING, with OpenSSL's own words; there was no request, so nothing is said about one."""
        leaf, *above = make_stranger(keys.authority, kind)
        leaf.write(keys.folder, "stranger", above=above)

        with pytest.raises(ssl.SSLError):
            shake(keys.context(), keys.client("stranger", version))

        [record] = caplog.records
        said = json.loads(record.getMessage())
        assert (record.name, record.levelno) == ("keyfob.audit", logging.WARNING)
        assert {name for name in said if said[name] is not None} == {"time", "decision", "reason", "detail"}
        assert (said["decision"], said["reason"], said["detail"]) == ("refused", "handshake-refused", STRANGERS[kind])

    def test_a_handshake_that_fails_for_another_reason_is_none(
        self, keys: Keys, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A client that distrusts the server, or speaks something else, was not refused by anybody here."""
        make_authority("Another CA").write(keys.folder, "another")

        with pytest.raises(ssl.SSLError):
            shake(keys.context(), make_client(keys.folder / "another.pem"))

        assert caplog.records == []


def _encrypted(pair: Pair) -> str:
    encryption = BestAvailableEncryption(b"secret")
    return pair.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption).decode("ascii")


# What the certificate's file and the key's hold; None for no file.
SPOILED: Mapping[str, Callable[[Pair], tuple[str | None, str | None]]] = {
    "the key of another certificate": lambda server: (server.pem, make_leaf(None).key_pem),
    "an encrypted key": lambda server: (server.pem, _encrypted(server)),
    "a key that is none": lambda server: (server.pem, "nothing\n"),
    "no key": lambda server: (server.pem, None),
    "certificate that is none": lambda server: ("nothing\n", server.key_pem),
    "half a certificate": lambda server: (server.pem[:200], server.key_pem),
    "the files swapped": lambda server: (server.key_pem, server.pem),
    "no certificate": lambda server: (None, server.key_pem),
}


def spoil(keys: Keys, kind: str) -> None:
    """Makes the server's files unusable in one way."""
    for path, content in zip((keys.certificate, keys.key), SPOILED[kind](keys.server), strict=True):
        path.unlink()
        if content is not None:
            path.write_text(content, encoding="ascii")


@pytest.mark.parametrize("kind", SPOILED)
def test_unusable_files_keep_the_server_from_starting(keys: Keys, kind: str) -> None:
    """A sentence that names the file, and a hint; never a question on the terminal."""
    spoil(keys, kind)

    with pytest.raises(ServeError) as caught:
        keys.context()

    blamed = keys.key if "key" in kind else keys.certificate
    assert str(blamed) in caught.value.message
    assert "None" not in caught.value.message
    assert caught.value.hint


class TestRenewal:
    """The PEM files are read for each connection."""

    def test_the_next_connection_gets_the_renewed_certificate(self, keys: Keys) -> None:
        """Without a restart; a connection that is open keeps its own."""
        context = keys.context()
        before = shake(context, keys.client())
        renewed = make_server(keys.authority)

        renewed.write(keys.folder, "server")

        assert shake(context, keys.client()).presented == renewed.certificate.public_bytes(Encoding.DER)
        assert before.presented == keys.server.certificate.public_bytes(Encoding.DER)

    @pytest.mark.parametrize("kind", SPOILED)
    def test_a_broken_one_keeps_the_old_and_says_so(
        self, keys: Keys, caplog: pytest.LogCaptureFixture, kind: str
    ) -> None:
        """At ERROR for each connection that it concerns; the clients' certificates are asked for as before."""
        context = keys.context()
        spoil(keys, kind)

        shaken = shake(context, keys.client())

        assert shaken.presented == keys.server.certificate.public_bytes(Encoding.DER)
        assert shaken.server.getpeercert(binary_form=True) is not None
        [record] = caplog.records
        assert (record.name, record.levelno) == ("keyfob.server", logging.ERROR)
        assert "the old one stays" in record.getMessage()

    def test_a_broken_one_still_refuses_strangers(self, keys: Keys, caplog: pytest.LogCaptureFixture) -> None:
        """What goes on is the whole context, its audit included."""
        context = keys.context()
        spoil(keys, "no certificate")
        make_leaf(make_authority("Another CA")).write(keys.folder, "stranger")

        with pytest.raises(ssl.SSLError):
            shake(context, keys.client("stranger"))

        assert [record.name for record in caplog.records] == ["keyfob.server", "keyfob.audit"]

    def test_once_repaired_the_new_one_is_used(self, keys: Keys) -> None:
        """A renewal that writes two files one after the other needs nobody's help."""
        context, renewed = keys.context(), make_server(keys.authority)
        keys.certificate.write_text(renewed.pem, encoding="ascii")
        halfway = shake(context, keys.client())
        keys.key.write_text(renewed.key_pem, encoding="ascii")
        after = shake(context, keys.client())

        assert halfway.presented == keys.server.certificate.public_bytes(Encoding.DER)
        assert after.presented == renewed.certificate.public_bytes(Encoding.DER)
