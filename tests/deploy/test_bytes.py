"""Caddy, Traefik and Envoy, looked at without keyfob: what they let through to a plain app, over HTTP/1.1 and HTTP/2.

The matrix asks whether anybody gets in. keyfob refuses most forgeries once more, so a rule that is gone from a file of
`deploy/` could go unnoticed there; here it does not.
"""

import contextlib
import importlib
import socketserver
import subprocess
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Protocol

import pytest
from cryptography import x509

from deploy.forgeries import CERTIFICATE_HEADERS, Header, Headers, make_claims, plain_name
from deploy.identities import World
from deploy.setting import HOST, PUBLIC_HOST, Setting, Start
from servers import find_port, find_program

FRONTS = ("caddy", "traefik", "envoy")
CLIENT = "127.0.0.4"
STRANGER = "203.0.113.66"
# Names with underscores are dropped, or the whole request is refused. (Envoy then resets a stream of HTTP/2.)
REFUSES_UNDERSCORES = ("traefik", "envoy")


class FrontModule(Protocol):
    """What a module in deploy/fronts has."""

    FORMAT: str
    start: Start


@dataclass(frozen=True)
class Front:
    """A proxy that answers, with the plain app behind it."""

    name: str
    format: str
    port: int
    world: World
    folder: Path


@dataclass(frozen=True)
class Seen:
    """What the client was told, and what the app saw of it: nothing, if the proxy answered itself."""

    status: str
    version: str
    path: str
    headers: Headers
    said: str

    def values(self, name: str) -> list[str]:
        return [value for each, value in self.headers if plain_name(each) == name.lower()]


class _Echo(socketserver.StreamRequestHandler):
    """Answers every request on a connection with its own head."""

    def handle(self) -> None:
        while head := b"".join(iter(self.rfile.readline, b"\r\n")):
            answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(head)
            try:
                self.wfile.write(answer + head)
            except OSError:
                return


class _Listener(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


@contextlib.contextmanager
def running_echo(port: int) -> Iterator[None]:
    """A plain app: no WSGI, no ASGI, no opinion about header names."""
    with _Listener(("127.0.0.1", port), _Echo) as listener:
        thread = threading.Thread(target=listener.serve_forever)
        thread.start()
        try:
            yield
        finally:
            listener.shutdown()
            thread.join()


@pytest.fixture(scope="module", params=FRONTS)
def front(request: pytest.FixtureRequest, world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """One proxy, with the plain app behind it."""
    name: str = request.param
    module: FrontModule = importlib.import_module(f"deploy.fronts.{name}")
    folder = tmp_path_factory.mktemp(f"{name}-bytes")
    port, app_port = find_port(), find_port()
    setting = Setting(folder, port, app_port, world.server, world.server_key, world.ca)
    with running_echo(app_port), module.start(setting):
        yield Front(name, module.FORMAT, port, world, folder)


@pytest.fixture(params=["1.1", "2"])
def version(request: pytest.FixtureRequest) -> str:
    """The HTTP that the client speaks."""
    found: str = request.param
    return found


def look(
    front: Front,
    version: str,
    headers: Sequence[Header] = (),
    *,
    device: str = "none",
    url: str = f"https://{HOST}/",
    more: Sequence[str] = (),
) -> Seen:
    """One request by curl, from CLIENT, as `device`."""
    command = [find_program("curl", "curl"), "--silent", "--show-error", "--max-time", "30", "--interface", CLIENT]
    command += ["--cacert", str(front.world.ca), "--connect-to", f"::127.0.0.1:{front.port}", f"--http{version}"]
    command += ["--path-as-is", "--write-out", "\n%{http_code} %{http_version}", *more]
    for option, path in zip(("--cert", "--key"), front.world.identities[device].files, strict=False):
        command += [option, str(path)]
    # From a file, because a certificate with its chain is long, and so that every name keeps the case it was given.
    lines = front.folder / "headers"
    lines.write_text("".join(f"{name}: {value}\r\n" for name, value in headers), encoding="latin-1", newline="")
    run = subprocess.run([*command, "--header", f"@{lines}", url], capture_output=True, text=True, check=False)
    body, _, told = run.stdout.rpartition("\n")
    status, _, spoken = told.partition(" ")
    start, *fields = body.splitlines() if body.startswith("GET ") else [""]
    split = [(name, value.strip()) for name, _, value in (line.partition(":") for line in fields)]
    return Seen(status, spoken, start.partition(" ")[2].partition(" ")[0], split, run.stderr)


def claims(front: Front) -> tuple[Headers, Headers]:
    """What claims to be the victim in the front's own format, and in every format."""
    every = make_claims(front.world.victim)
    return every[front.format], list(dict(chain(*every.values())).items())


def certificate_headers(seen: Seen) -> Headers:
    """Every header about a certificate that says something."""
    return [(name, value) for name, value in seen.headers if value and plain_name(name) in CERTIFICATE_HEADERS]


def test_a_certificate_arrives_as_the_format_says(front: Front, version: str) -> None:
    """The header is the connection's own certificate, once, and there is no other."""
    seen = look(front, version, device="valid")
    assert (seen.status, seen.version) == ("200", version)
    pem = front.world.identities["valid"].files[0].read_text(encoding="ascii")
    own = make_claims(x509.load_pem_x509_certificate(pem.encode("ascii")))[front.format]
    # Envoy could be asked for the subject as well, and Traefik adds what the client sent after its certificate.
    expected = [(name.lower(), value.partition(";Subject=")[0]) for name, value in own]
    assert [(name.lower(), value.partition(",")[0]) for name, value in certificate_headers(seen)] == expected


@pytest.mark.parametrize("device", ["none", "valid"])
def test_nothing_that_a_client_writes_about_certificates_arrives(front: Front, version: str, device: str) -> None:
    """In whatever format, twice, and named as a header of the connection: the app sees what it would see without it."""
    own, every = claims(front)
    plain = certificate_headers(look(front, version, device=device))
    forgeries = {
        "every format": every,
        "twice": [*own, *own],
        "lower case": [(name.lower(), value) for name, value in every],
    }
    if version == "1.1":
        forgeries["removal"] = [*own, ("Connection", ", ".join(["close", *(name for name, _ in own)]))]
    for forgery, headers in forgeries.items():
        seen = look(front, version, headers, device=device)
        assert (seen.status, certificate_headers(seen)) == ("200", plain), forgery


@pytest.mark.parametrize("separator", ["_", "."])
def test_no_alias_of_the_header_arrives(front: Front, version: str, separator: str) -> None:
    """Whether all of its hyphens are another character, or any of them."""
    refused = "000" if (front.name, version) == ("envoy", "2") else "400"
    outcome = refused if separator == "_" and front.name in REFUSES_UNDERSCORES else "200"
    for name, value in claims(front)[0]:
        words = name.split("-")
        halves = ["-".join(words[:at]) + separator + "-".join(words[at:]) for at in range(1, len(words))]
        for alias in (name.replace("-", separator), *halves):
            seen = look(front, version, [(alias, value)])
            assert (seen.status, certificate_headers(seen)) == (outcome, []), alias


def test_the_address_is_the_clients_own(front: Front, version: str) -> None:
    """What a client says about where it comes from is forgotten, in every header that says it."""
    names = ("X-Forwarded-For", "X-Real-IP", "X-Forwarded-For", "X.Forwarded.For", "X-Forwarded.For", "x.forwarded-for")
    seen = look(front, version, [*((name, STRANGER) for name in names), ("Forwarded", f"for={STRANGER}")])
    assert seen.values("x-forwarded-for") == [CLIENT]
    assert seen.values("forwarded") == []
    assert seen.values("x-real-ip") in ([], [CLIENT])
    seen = look(front, version, [("X-Forwarded-Host", "elsewhere.example.com"), ("X-Forwarded-Proto", "http")])
    assert seen.values("x-forwarded-host") == [HOST]
    assert seen.values("x-forwarded-proto") == ["https"]


def test_a_handshake_for_another_host_opens_nothing(front: Front, version: str) -> None:
    """The app is not even asked when the names in the handshake and in the request differ: 421."""
    to_ours = look(front, version, [("Host", HOST)], device="valid", url=f"https://{PUBLIC_HOST}/")
    assert (to_ours.status, to_ours.headers) == ("404" if front.name == "envoy" else "421", [])
    from_ours = look(front, version, [("Host", PUBLIC_HOST)], device="valid")
    assert (from_ours.status, from_ours.headers) == ("421", [])


def test_a_handshake_for_no_host_that_is_known_fails(front: Front) -> None:
    """Neither without a name, as for a bare address, nor with an unknown one."""
    for host in ("127.0.0.1", "unknown.example.com"):
        seen = look(front, "1.1", [("Host", HOST)], url=f"https://{host}/", more=["--insecure"])
        assert (seen.status, seen.headers) == ("000", []), host


@pytest.mark.parametrize("host", [HOST, PUBLIC_HOST])
def test_nothing_older_than_tls_1_2_is_spoken(front: Front, host: str) -> None:
    """The server says so, not the client; and a host beside ours is no way around it."""
    old = ["--tlsv1.0", "--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0"]
    seen = look(front, "1.1", url=f"https://{host}/", more=old)
    assert seen.status == "000"
    assert "alert protocol version" in seen.said
    assert look(front, "1.1", url=f"https://{host}/", more=["--tls-max", "1.2"]).status == "200"


def test_a_path_has_one_reading(front: Front, version: str) -> None:
    """What the app sees is the path that was decided upon, whatever it was called."""
    if front.name == "caddy":
        assert look(front, version, url=f"https://{HOST}/a/../b").path == "/a/../b"
        return
    assert look(front, version, url=f"https://{HOST}//a/../b").path == "/b"
    assert look(front, version, url=f"https://{HOST}/a%2Fb").status == "400"
    assert look(front, version, url=f"https://{HOST}/a%5Cb").status == "400"
