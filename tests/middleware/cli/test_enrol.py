"""cli.enrol: what is shown to whoever invites, before, while and after a device comes."""

import json
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import click
import pytest
import segno

from keyfob.cli import qr
from keyfob.cli.enrol import describe_change, find_base, watch
from keyfob.cli.qr import draw_code, find_obstacle
from keyfob.enrolment.inviting import P12, Invited, Wish, invite
from keyfob.enrolment.outlet import ENROLMENT_AUTHORITY, ENROLMENT_URL
from keyfob.enrolment.requests import SCEP
from keyfob.errors import PKIError
from keyfob.inventory import Invitation, State
from keyfob.pki.authority import DeviceRequest
from keyfob.pki.registry import Registry
from live.world import wait_for
from registries import make_registry
from servers import environment, keyfob

BASE = "https://192.0.2.20:8444"
LINK = rf"{BASE}/enrol/([A-Za-z0-9_-]{{22}})"
TYPED = r"[a-z2-7]{5}(?:-[a-z2-7]{5}){3}"


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    registry = make_registry(tmp_path / ".keyfob")
    registry.inventory.write_setting(ENROLMENT_URL, BASE)
    return registry


def run(folder: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """`keyfob enrol` in a folder, to its end."""
    return subprocess.run(
        keyfob("enrol", *arguments),
        cwd=folder,
        env=environment(**env),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )


def fail(folder: Path, *arguments: str, status: int = 1) -> tuple[str, str]:
    """The error and the hint with which it ends, which are all that it says."""
    ended = run(folder, *arguments)
    assert (ended.returncode, ended.stdout) == (status, ""), ended.stderr
    match = re.fullmatch(r"error: (.+)\nhint: (.+)\n", ended.stderr)
    assert match is not None, ended.stderr
    return match[1], match[2]


# --- What is made and shown -------------------------------------------------------------------------------------------


def test_a_code_a_link_and_a_password_are_shown(registry: Registry, tmp_path: Path) -> None:
    """In 80 columns; the link is the one in the code, and nothing else is said of the token."""
    ended = run(tmp_path, "My iPhone", "--no-wait", COLUMNS="80")
    assert ended.returncode == 0, ended.stderr
    [token] = re.findall(rf"^  link       {LINK}$", ended.stdout, re.MULTILINE)
    assert len(re.findall(rf"^  password   {TYPED}   \(", ended.stdout, re.MULTILINE)) == 1
    assert re.search(r"^  open until \d\d:\d\d, for one device$", ended.stdout, re.MULTILINE)
    assert max(map(len, ended.stdout.splitlines())) < 80
    found = registry.inventory.invitations.find(token)
    assert found is not None
    assert (found.name, found.kind, found.expires_at - found.created_at) == ("My iPhone", P12, 900)
    assert registry.inventory.find_present("My iPhone") is not None
    assert ended.stderr == ""


def test_a_script_gets_the_same_as_json(registry: Registry, tmp_path: Path) -> None:
    """One object, and no waiting."""
    ended = run(tmp_path, "My iPhone", "--json", "--minutes", "5", "--url", "https://keys.example.com/")
    said = json.loads(ended.stdout)
    assert set(said) == {"name", "kind", "link", "password", "expires_at"}
    assert said["link"].startswith("https://keys.example.com/enrol/")
    assert re.fullmatch(TYPED, said["password"])
    assert ended.stderr == ""


def test_what_the_certificate_shall_say_can_be_said(registry: Registry, tmp_path: Path) -> None:
    """As with `keyfob issue`."""
    more = ["--email", "me@example.com", "--organization", "Money App", "--days", "30", "--key", "p384"]
    assert run(tmp_path, "My iPhone", "--json", *more).returncode == 0
    present = registry.inventory.find_present("My iPhone")
    assert present is not None
    assert present.parsed.subject.rfc4514_string() == "CN=My iPhone,O=Money App"
    assert (present.parsed.not_valid_after_utc - present.parsed.not_valid_before_utc).days == 30
    assert present.parsed.public_key().key_size == 384  # type: ignore[union-attr]


def test_a_key_that_is_born_on_the_device_has_no_password(registry: Registry, tmp_path: Path) -> None:
    """There is nothing to open."""
    ended = run(tmp_path, "My iPhone", "--born-on-device", "--no-wait")
    assert "link" in ended.stdout
    assert "password" not in ended.stdout
    assert registry.inventory.count() == 0


def test_a_program_gets_a_command(registry: Registry, tmp_path: Path) -> None:
    """EST needs no page; what curl asks for is the password."""
    ended = run(tmp_path, "build-server", "--est", "--no-wait")
    assert f"{BASE}/.well-known/est/simpleenroll" in ended.stdout
    assert "█" not in ended.stdout
    assert "Content-Type: application/pkcs10" in ended.stdout


def test_a_note_says_that_phones_cannot_reach_this_machine(registry: Registry, tmp_path: Path) -> None:
    """A code that leads to localhost leads the phone to itself."""
    registry.inventory.write_setting(ENROLMENT_URL, "https://localhost:8444")
    said = run(tmp_path, "My iPhone", "--no-wait").stderr
    assert "note: a phone cannot reach localhost" in said
    assert "--host 0.0.0.0" in said


def test_a_note_prepares_for_the_browsers_warning(registry: Registry, tmp_path: Path) -> None:
    """A device that does not know the server's authority yet says so before it shows the page."""
    registry.inventory.write_setting(ENROLMENT_AUTHORITY, "keyfob CA")
    said = run(tmp_path, "My iPhone", "--no-wait").stderr
    assert (
        said == "note: the device does not know keyfob CA yet, and warns once: Show Details, then visit this website\n"
    )


# --- What is refused --------------------------------------------------------------------------------------------------


def test_a_name_that_is_taken_is_refused(registry: Registry, tmp_path: Path) -> None:
    """With the ways out of it, one of which then works."""
    assert run(tmp_path, "My iPhone", "--json").returncode == 0
    error, hint = fail(tmp_path, "My iPhone", "--json")
    assert error == "'My iPhone' has a certificate already"
    assert "--renew" in hint
    assert run(tmp_path, "My iPhone", "--json", "--renew").returncode == 0
    states = [stored.record.find_state(time.time()) for stored in registry.inventory.find("My iPhone")]
    assert states == [State.ACTIVE, State.RETIRING]


def test_without_an_address_nothing_is_made(tmp_path: Path) -> None:
    """A code that leads nowhere would burn the name."""
    registry = make_registry(tmp_path / ".keyfob")
    error, hint = fail(tmp_path, "My iPhone", "--json")
    assert error == "no server that runs has said where its enrolment pages are"
    assert "--url" in hint
    assert registry.inventory.count() == 0


@pytest.mark.parametrize(
    "base", ["http://192.0.2.20:8444", "https://", "https://a/b?c", "https://a b", "ftp://a", "https://a@b", "", "x"]
)
def test_an_address_that_is_none_is_refused(registry: Registry, base: str) -> None:
    """Also one without TLS: the link is the key."""
    with pytest.raises(click.BadParameter):
        find_base(registry.inventory, base)


@pytest.mark.parametrize("base", ["https://keys.example.com", "https://[2001:db8::1]:8444/", "https://box.local:8444"])
def test_an_address_is_taken_as_it_is(registry: Registry, base: str) -> None:
    """Without the slash at its end."""
    assert find_base(registry.inventory, base) == base.rstrip("/")


@pytest.mark.parametrize(
    "options",
    [
        ["--born-on-device", "--est"],
        ["--born-on-device", "--key", "p256"],
        ["--est", "--renew"],
        ["--minutes", "0"],
        ["--minutes", "1441"],
        ["--key", "ed25519"],
    ],
)
def test_options_that_contradict_each_other_are_refused(registry: Registry, tmp_path: Path, options: list[str]) -> None:
    """Before anything is made."""
    fail(tmp_path, "My iPhone", *options, status=2)
    assert registry.inventory.count() == 0


@pytest.mark.parametrize("name", ["a/b", "", "a\u202eb", "x" * 10_000, "-"])
def test_a_name_that_no_device_may_have_is_refused(registry: Registry, tmp_path: Path, name: str) -> None:
    """With the reason."""
    fail(tmp_path, "--json", "--", name)
    assert registry.inventory.count() == 0


# --- Who comes --------------------------------------------------------------------------------------------------------


@contextmanager
def waiting(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str, list[str]]]:
    """The command while it waits, its token, and what it says on stderr from then on."""
    with (folder / "said").open("w", encoding="utf-8") as said:
        process = subprocess.Popen(
            keyfob("enrol", *arguments), cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=said, text=True
        )
        try:
            assert process.stdout is not None
            yield process, _find_token(process.stdout), []
        finally:
            process.kill()
            process.communicate()


def _find_token(output: IO[str]) -> str:
    for line in output:
        if found := re.fullmatch(rf"  link       {LINK}\n", line):
            return found[1]
    raise AssertionError("no link was shown")


def test_whoever_uses_it_is_told_at_once_and_so_is_a_second_try(registry: Registry, tmp_path: Path) -> None:
    """With the moment, the address and the kind of device; and what to do if that was somebody else."""
    said = tmp_path / "said"
    with waiting(tmp_path, "My iPhone") as (process, token, _):
        wait_for(lambda: "Waiting for the device" in said.read_text(encoding="utf-8"))
        invitations = registry.inventory.invitations
        invitations.use(token, time.time(), "192.0.2.7", "iPhone, Safari")
        wait_for(lambda: " by 192.0.2.7 (iPhone, Safari)" in said.read_text(encoding="utf-8"))
        with pytest.raises(PKIError):
            invitations.use(token, time.time(), "198.51.100.9", "curl")
        wait_for(lambda: "somebody tried again" in said.read_text(encoding="utf-8"))
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    words = said.read_text(encoding="utf-8")
    assert re.search(r"^used at \d\d:\d\d:\d\d by 192\.0\.2\.7 \(iPhone, Safari\)$", words, re.MULTILINE)
    assert re.search(
        r"^somebody tried again at \S+ from 198\.51\.100\.9: if that was not you, keyfob revoke 'My iPhone'$",
        words,
        re.MULTILINE,
    )
    assert "Traceback" not in words


def test_ctrl_c_leaves_the_invitation_open_and_says_so(registry: Registry, tmp_path: Path) -> None:
    """Whoever has seen enough takes nothing back."""
    said = tmp_path / "said"
    with waiting(tmp_path, "My iPhone") as (process, token, _):
        wait_for(lambda: "Waiting for the device" in said.read_text(encoding="utf-8"))
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    assert re.search(r"^The invitation stays open until \d\d:\d\d\.$", said.read_text(encoding="utf-8"), re.MULTILINE)
    found = registry.inventory.invitations.find(token)
    assert found is not None
    assert found.is_open(time.time())


def make_invited(registry: Registry, kind: str = P12) -> Invited:
    return invite(registry, Wish(DeviceRequest("My iPhone"), kind), 1)


def soon(registry: Registry, invited: Invited) -> Invited:
    """The same, over in a second."""
    end = int(time.time()) + 1
    database = registry.inventory._database
    with database.write() as connection:
        connection.exec_driver_sql(f"UPDATE invitations SET expires_at = {end}")  # noqa: S608 - a number
    return Invited(invited.number, invited.name, invited.kind, end, invited.token, invited.password)


def test_a_lapse_is_told_and_takes_the_certificate_back(registry: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    """Whether a server runs or not."""
    watch(registry.inventory, soon(registry, make_invited(registry)), Path(".keyfob"))
    assert "Nobody came, and the invitation has lapsed; the key is erased" in capsys.readouterr().err
    assert registry.inventory.find_present("My iPhone") is None


def test_a_key_that_was_never_made_is_not_said_to_be_erased(
    registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    """The invitation is all there was."""
    watch(registry.inventory, soon(registry, make_invited(registry, SCEP)), Path(".keyfob"))
    assert "Nobody came, and the invitation has lapsed.\n" in capsys.readouterr().err


def test_an_invitation_that_was_used_ends_without_a_word(
    registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    """The certificate stays."""
    invited = soon(registry, make_invited(registry))
    registry.inventory.invitations.use(invited.token, time.time(), "192.0.2.7", "")
    watch(registry.inventory, invited, Path(".keyfob"))
    assert "lapsed" not in capsys.readouterr().err
    assert registry.inventory.find_present("My iPhone") is not None


NOTHING = Invitation(1, "n", SCEP, None, None, 0, 900, None, None, None, None, None, 0, None, None, None, None)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, []),
        ({"used_at": 5, "used_from": "192.0.2.7", "used_with": "iPhone, Safari"}, ["used at ", "Staying to see"]),
        ({"certificate": 3}, ["The device's own key is signed"]),
        ({"tries": 1, "tried_at": 9, "tried_from": "192.0.2.9"}, ["somebody tried again at "]),
    ],
)
def test_a_change_is_told_once(changes: dict[str, Any], said: list[str]) -> None:
    """And no change is not."""
    after = NOTHING._replace(**changes)
    lines = describe_change(NOTHING, after, "keyfob revoke n")
    assert [line[: len(words)] for line, words in zip(lines, said, strict=True)] == said
    assert describe_change(after, after, "") == []


# --- The code ---------------------------------------------------------------------------------------------------------


def read_plain(lines: Sequence[str]) -> list[list[bool]]:
    """The modules of a code without colours; True is black."""
    upper = {"█": False, " ": True, "▀": False, "▄": True}
    lower = {"█": False, " ": True, "▀": True, "▄": False}
    return [[half[each] for each in line] for line in lines for half in (upper, lower)]


def read_coloured(lines: Sequence[str]) -> list[list[bool]]:
    """The same of one in colours."""
    found = []
    for line in lines:
        pairs = re.findall(r"\x1b\[38;5;(\d+);48;5;(\d+)m▀", line)
        assert line == "".join(f"\x1b[38;5;{a};48;5;{b}m▀" for a, b in pairs) + "\x1b[0m"
        found += [[each == "16" for each in row] for row in zip(*pairs, strict=True)]
    return found


@pytest.mark.parametrize("coloured", [True, False])
@pytest.mark.parametrize("length", [10, 60, 200])
def test_the_code_is_drawn_as_it_is(monkeypatch: pytest.MonkeyPatch, length: int, *, coloured: bool) -> None:
    """Every module, with white around it; an odd number of rows ends in white."""
    monkeypatch.setattr(qr, "_has_colours", lambda: coloured)
    text = "https://keys.example.com/".ljust(length, "x")
    lines = draw_code(text)
    drawn = (read_coloured if coloured else read_plain)(lines)
    wanted = [[bool(each) for each in row] for row in segno.make_qr(text, error="m").matrix_iter(border=2)]
    assert drawn[: len(wanted)] == wanted
    assert not any(any(row) for row in drawn[len(wanted) :])


def test_a_code_is_not_drawn_where_it_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too narrow, or without the characters: a broken code helps nobody, and the link does."""
    lines = draw_code(f"{BASE}/enrol/{'x' * 22}")
    assert find_obstacle(lines, 80) is None
    assert "columns" in str(find_obstacle(lines, 30))
    monkeypatch.setattr("sys.stdout", type("Terminal", (), {"encoding": "ascii"})())
    assert "no characters" in str(find_obstacle(lines, 80))


def test_an_address_that_a_server_has_taken_back_is_none(registry: Registry) -> None:
    """No device is sent to pages that nobody serves any more."""
    registry.inventory.write_setting(ENROLMENT_URL, "")
    with pytest.raises(PKIError, match="no server that runs"):
        find_base(registry.inventory, None)
