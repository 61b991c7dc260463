"""cli.serve: what a start says, first and second, and that what it says is true."""

import contextlib
import http.client
import re
import shlex
import signal
import socket
import sqlite3
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from certificates import make_authority, make_leaf, make_server
from keyfob.enrolment.inviting import Wish, invite
from keyfob.inventory import open_inventory
from keyfob.pki.authority import DeviceRequest
from keyfob.pki.home import open_home
from keyfob.server.addresses import find_hosts
from live.world import wait_for
from rules import ANY_DEVICE
from servers import Running, environment, find_port, find_program, keyfob, make_client, running, wait_for_handshake

# An app of one line behind the door: it says who came in, and where its own files may lie.
APP = """\
import os
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from keyfob import client_certificate

async def greet(request):
    return PlainTextResponse(f"Hello {client_certificate(request).common_name}, {os.environ.get('KEYFOB_HOME')}")

app = Starlette(routes=[Route("/", greet)])
"""
FOLDER = "Rhea's keys & co"


class Start(NamedTuple):
    """One start of a home: everything it said, and what the curl line in that was answered."""

    said: str
    home: Path
    port: int
    answer: subprocess.CompletedProcess[str]


@contextmanager
def serving(folder: Path, port: int, *arguments: str | Path, env: Mapping[str, str] | None = None) -> Iterator[Running]:
    (folder / "shop.py").write_text(APP, encoding="utf-8")
    with running(keyfob("serve", "shop:app", *arguments, "--port", str(port)), port, folder, env) as server:
        wait_for_handshake(port)
        yield server


def find_curl(said: str) -> str:
    """The line to be copied, without the blanks that nobody selects."""
    [line] = re.findall(r"^ +(curl .+)$", said, re.MULTILINE)
    return str(line)


def paste(line: str) -> subprocess.CompletedProcess[str]:
    """What another terminal, which stands elsewhere, makes of a line."""
    find_program("curl", "curl")
    find_program("curl", "curl")
    command = ["sh", "-c", f"{line} --silent --show-error --max-time 20"]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")


def start(folder: Path, port: int) -> Start:
    with serving(folder, port, "--home", FOLDER, "--enrolment-port", "0") as server:
        said = server.said()
        return Start(said, folder / FOLDER, port, paste(find_curl(said)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shop")


@pytest.fixture(scope="module")
def port() -> int:
    return find_port()


@pytest.fixture(scope="module")
def first(folder: Path, port: int) -> Start:
    return start(folder, port)


@pytest.fixture(scope="module")
def second(first: Start, folder: Path, port: int) -> Start:
    return start(folder, port)


# --- The first start ------------------------------------------------------------------------------------------------


def test_the_curl_line_works_when_pasted(first: Start) -> None:
    """Also where the folder's name has a space, a quote and an ampersand in it."""
    assert first.answer.returncode == 0, first.answer.stderr
    assert first.answer.stdout == f"Hello this-computer, {first.home}"


@pytest.mark.parametrize("name", ["2025-11-23T10:30", "C:\\keys", '$HOME `id` "x" *', "-k"])
def test_the_curl_line_works_whatever_the_folder_is_called(tmp_path: Path, name: str) -> None:
    """curl reads a colon in --cert as the start of a password, and a shell reads almost everything else."""
    port = find_port()
    with serving(tmp_path, port, f"--home={name}") as server:
        answer = paste(find_curl(server.said()))
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith("Hello this-computer, ")


def test_the_folder_the_rules_and_the_address_are_said(first: Start) -> None:
    """The address is one that the certificate names."""
    assert re.search(rf"^  folder +{re.escape(str(first.home))}$", first.said, re.MULTILINE)
    assert re.search(rf"^  rules +{re.escape(str(first.home / 'access.toml'))}$", first.said, re.MULTILINE)
    assert re.search(rf"^  address +https://localhost:{first.port}$", first.said, re.MULTILINE)


def test_how_a_key_gets_onto_a_phone_is_said(first: Start) -> None:
    """One command, which finds this very folder from wherever it is typed."""
    steps = first.said.partition("Onto a phone")[2]
    assert f"keyfob enrol 'My phone' --home {shlex.quote(str(first.home))}" in steps
    assert re.search(r"^  enrolment  https://localhost:\d+$", first.said, re.MULTILINE)


def test_a_server_on_loopback_says_that_phones_cannot_reach_it_yet(first: Start) -> None:
    """The steps would all succeed, and the page would not open."""
    assert "HOST=0.0.0.0" in first.said


def test_a_server_on_all_addresses_does_not(tmp_path: Path) -> None:
    """Then phones can reach it, and the name for this machine stays localhost."""
    port = find_port()
    with serving(tmp_path, port, "--home", "home", "--host", "0.0.0.0", "--enrolment-port", "0") as server:  # noqa: S104
        said = server.said()
        assert paste(find_curl(said)).returncode == 0
    assert "HOST=0.0.0.0" not in said
    assert f"address    https://localhost:{port}\n" in said
    [host] = re.findall(r"^  enrolment  https://(.+):\d+$", said, re.MULTILINE)
    assert host.strip("[]") in find_hosts()


def test_nothing_secret_is_said(first: Start, second: Start) -> None:
    """No key, in no form: what is said ends up in logs and screenshots."""
    for said in (first.said, second.said):
        assert "PRIVATE KEY" not in said
        assert "password" not in said
        squeezed = re.sub(r"\s", "", said)
        for path in first.home.rglob("*-key.pem"):
            body = "".join(path.read_text(encoding="ascii").splitlines()[1:-1])
            assert not any(body[at : at + 20] in squeezed for at in range(0, len(body) - 20, 20))


# --- The second start -----------------------------------------------------------------------------------------------


def test_the_second_start_is_the_same_door(first: Start, second: Start) -> None:
    """The line that was copied yesterday works today."""
    assert find_curl(second.said) == find_curl(first.said)
    assert second.answer.stdout == first.answer.stdout == f"Hello this-computer, {first.home}"


def test_a_name_that_came_later_is_noted_with_what_to_do(tmp_path: Path) -> None:
    """A machine in another network has another address, which browsers would warn about."""
    home = open_home(tmp_path / "home", ["localhost"])
    with serving(tmp_path, find_port(), "--home", home.folder) as server:
        said = server.said()
    [note] = re.findall(r"^  note .* does not name 127\.0\.0\.1.*?access\.toml$", said, re.MULTILINE | re.DOTALL)
    assert "server.pem and server-key.pem" in note


# --- Talk and data --------------------------------------------------------------------------------------------------


def test_everything_is_said_on_stderr_and_a_stop_is_no_error(tmp_path: Path) -> None:
    """stdout is for data, of which a server has none; Ctrl+C ends it without a traceback."""
    port = find_port()
    (tmp_path / "shop.py").write_text(APP, encoding="utf-8")
    command = keyfob("serve", "shop:app", "--home", "home", "--port", str(port), "--no-enrolment")
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment()
    ) as server:
        try:
            assert server.stderr is not None
            for line in server.stderr:
                if "Ctrl+C stops." in line:
                    break
            server.send_signal(signal.SIGINT)
            said, talk = server.communicate(timeout=20)
        finally:
            server.kill()
    assert said == ""
    assert "Traceback" not in talk
    assert server.returncode in {0, 130}


def test_a_refusal_is_one_line_on_stderr(tmp_path: Path) -> None:
    """Who was turned away is what an owner wants to see in the terminal."""
    port = find_port()
    open_home(tmp_path / "home", find_hosts())
    with serving(tmp_path, port, "--home", "home") as server:
        before = server.said()
        line = f"curl --cacert {shlex.quote(str(tmp_path / 'home' / 'ca.pem'))} https://localhost:{port}/"
        assert "Hello" not in paste(line).stdout
        added = server.said().removeprefix(before)
    assert added.count("\n") == 1
    assert '"reason": "certificate-missing"' in added


def test_a_change_that_is_in_force_is_one_line_on_stderr(tmp_path: Path) -> None:
    """Whoever has just changed a rule does not have to try it."""
    open_home(tmp_path / "home", find_hosts())
    with serving(tmp_path, find_port(), "--home", "home") as server:
        before = server.said()
        with (tmp_path / "home" / "access.toml").open("a", encoding="utf-8") as rules:
            rules.write("# A comment is a change, too.\n")
        wait_for(lambda: server.said() != before)
        added = server.said().removeprefix(before)
    assert added == f"INFO keyfob.live: {tmp_path / 'home' / 'access.toml'}: changed, and in force\n"


# --- Where keys are handed out --------------------------------------------------------------------------------------


def ask_for_pages(port: int, authority: Path) -> tuple[int, str]:
    """What somebody without a certificate is answered at this port: the status, and the page."""
    connection = http.client.HTTPSConnection("localhost", port, context=make_client(authority), timeout=20)
    with contextlib.closing(connection):
        connection.request("GET", "/")
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def read_settings(home: Path) -> dict[str, str | None]:
    with open_inventory(home / "inventory.db") as inventory:
        return {name: inventory.read_setting(name) for name in ("enrolment.url", "app.url", "app.name")}


def test_a_home_hands_out_keys_beside_the_app(tmp_path: Path) -> None:
    """Where nobody is asked for one; and the commands find the address in the inventory."""
    port, second = find_port(), find_port()
    with serving(tmp_path, port, "--home", "home", "--enrolment-port", str(second)):
        status, page = ask_for_pages(second, tmp_path / "home" / "ca.pem")
    assert status == 404
    assert "Keys are handed out here" in page
    assert read_settings(tmp_path / "home") == {
        "enrolment.url": f"https://localhost:{second}",
        "app.url": f"https://localhost:{port}/",
        "app.name": "Budget",
    }


def test_the_enrolment_port_asks_nobody_for_a_certificate(tmp_path: Path) -> None:
    """A phone that has other keys would ask its owner which one to show."""
    second = find_port()
    openssl = find_program("openssl", "openssl")
    with serving(tmp_path, find_port(), "--home", "home", "--enrolment-port", str(second)):
        command = [openssl, "s_client", "-connect", f"localhost:{second}"]
        said = subprocess.run(command, input="", capture_output=True, text=True, check=False, timeout=20).stdout
    assert "BEGIN CERTIFICATE" in said
    assert "Requested Signature Algorithms" not in said


def test_a_usual_port_that_is_taken_is_a_note(tmp_path: Path) -> None:
    """The app is served all the same, since nobody has asked for more."""
    port = find_port()
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            stack.enter_context(socket.create_server(("127.0.0.1", port + 1)))
        server = stack.enter_context(serving(tmp_path, port, "--home", "home"))
        said = server.said()
    assert f"note       port {port + 1} is taken, so no keys are handed out" in said
    assert "enrolment  " not in said
    assert "Ctrl+C stops." in said


def test_a_wanted_port_that_is_taken_is_an_error(tmp_path: Path) -> None:
    """Whoever has named it is waiting for it."""
    (tmp_path / "shop.py").write_text(APP, encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = keyfob("serve", "shop:app", "--home", "home", "--port", "0", "--enrolment-port", port)
        ended = subprocess.run(
            command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False, timeout=30
        )
    assert ended.returncode == 1
    assert f"error: cannot listen on 127.0.0.1 port {port}: Address already in use" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_without_enrolment_there_is_no_such_port(tmp_path: Path) -> None:
    """Keys are made and exported by commands alone then."""
    with serving(tmp_path, find_port(), "--home", "home", "--no-enrolment") as server:
        said = server.said()
    assert "enrolment  " not in said
    assert "Onto a phone" not in said
    assert read_settings(tmp_path / "home")["enrolment.url"] is None


def test_both_ports_stop_together(tmp_path: Path) -> None:
    """Nothing is left that would hand out keys for an app that is not there."""
    second = find_port()
    with serving(tmp_path, find_port(), "--home", "home", "--enrolment-port", str(second)) as server:
        assert ask_for_pages(second, tmp_path / "home" / "ca.pem")[0] == 404
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", second), timeout=5)
    assert "Traceback" not in server.said()


def test_what_nobody_fetched_is_erased_by_the_server(tmp_path: Path) -> None:
    """Also where the command that made the invitation is long gone."""
    home = open_home(tmp_path / "home", find_hosts())
    registry = home.registry()
    with registry.inventory as inventory:
        invite(registry, Wish(DeviceRequest("My iPhone")), 15)
        with sqlite3.connect(home.folder / "inventory.db") as database:
            database.execute("UPDATE invitations SET expires_at = 1")
        database.close()
        with serving(tmp_path, find_port(), "--home", "home", "--enrolment-port", "0") as server:
            wait_for(lambda: "has lapsed" in server.said())
        [stored] = inventory.find("My iPhone")
    assert stored.record.reason == "cessationOfOperation"


def test_a_config_of_ones_own_hands_out_keys_of_a_home(tmp_path: Path) -> None:
    """With --home for the authority and the inventory, and only if a port is named."""
    home = open_home(tmp_path / "home", find_hosts())
    port, second = find_port(), find_port()
    files: list[str | Path] = ["--config", home.config, "--certificate", home.server, "--key", home.server_key]
    with serving(tmp_path, port, *files, "--home", "home", "--enrolment-port", str(second)) as server:
        assert ask_for_pages(second, home.authority)[0] == 404
        said = server.said()
    assert said == f"Serving https://localhost:{port}\nHanding out keys at https://localhost:{second}\n"


@pytest.mark.parametrize(
    "options",
    [
        ["--home", "home", "--enrolment-port", "8444", "--no-enrolment"],
        ["--config", "access.toml", "--enrolment-port", "8444"],
        ["--home", "home", "--config", "access.toml"],
        ["--home", "home", "--certificate", "server.pem", "--enrolment-port", "8444"],
        ["--home", ""],
        [],
    ],
)
def test_options_that_contradict_each_other_are_refused(tmp_path: Path, options: list[str]) -> None:
    """Before anything is made."""
    command = keyfob("serve", "shop:app", *options)
    ended = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: ")
    assert list(tmp_path.iterdir()) == []


def test_keys_are_not_handed_out_without_tls(tmp_path: Path) -> None:
    """Behind a proxy the app may speak plain HTTP; the pages may not."""
    home = open_home(tmp_path / "home", find_hosts())
    command = keyfob(
        "serve", "shop:app", "--home", home.folder, "--config", home.config, "--enrolment-port", "0", "--port", "0"
    )
    ended = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr.splitlines()[0]) == (1, "error: keys are handed out over TLS alone")


# --- Without a home -------------------------------------------------------------------------------------------------


def test_a_config_with_certificate_and_key_is_served_and_makes_no_home(tmp_path: Path) -> None:
    """For those who have an authority already; the address is all there is to say."""
    authority = make_authority()
    authority.write(tmp_path, "ca")
    certificate, key = make_server(authority, "localhost").write(tmp_path, "server")
    device = make_leaf(authority, "Rhea Group").write(tmp_path, "device")
    config = tmp_path / "access.toml"
    config.write_text(ANY_DEVICE, encoding="utf-8")
    port, before = find_port(), set(tmp_path.iterdir())
    options: list[str | Path] = ["--config", config, "--certificate", certificate, "--key", key]
    with serving(tmp_path, port, *options) as server:
        assert server.said() == f"Serving https://localhost:{port}\n"
        curl = [
            find_program("curl", "curl"),
            "--cacert",
            "ca.pem",
            "--cert",
            device[0],
            "--key",
            device[1],
            f"https://localhost:{port}/",
        ]
        answer = paste(f"cd {shlex.quote(str(tmp_path))} && {shlex.join(map(str, curl))}")
    assert answer.stdout == "Hello Rhea Group, None"
    assert {path.name for path in set(tmp_path.iterdir()) - before} <= {"shop.py", "__pycache__", server.log.name}
