"""cli.listing: every certificate in a line, each in full, for people and for programs."""

import itertools
import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from commands import fail, succeed
from keyfob.cli.listing import list_command
from keyfob.inventory import Entry, RevocationReason, State
from keyfob.inventory.inventory import Inventory, Sighting
from keyfob.pki.authority import DeviceRequest
from keyfob.pki.registry import Registry
from registries import make_registry
from servers import environment
from servers import keyfob as command

NOW = int(time.time())
DAY = 86400


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """Where the commands find it by themselves."""
    monkeypatch.chdir(tmp_path)
    return make_registry(Path(".keyfob"))


def add(registry: Registry, name: str, *, issued: int = NOW, ends: int = NOW + DAY, number: int = 1) -> Entry:
    """A certificate of which only what is listed is real."""
    issuer = registry.root.public_bytes(Encoding.DER)
    entry = Entry(name, f"{name} {number}".encode(), issuer, hash((name, number)) & (2**60 - 1), issued, ends, issued)
    registry.inventory.add([entry])
    return entry


def fill(registry: Registry) -> None:
    """One of each: active, expired, revoked, seen, and renewed."""
    add(registry, "b active")
    add(registry, "d expired", issued=NOW - 3 * DAY, ends=NOW - DAY)
    seen = add(registry, "a seen", ends=NOW + 2 * DAY)
    registry.inventory.note_seen({seen.fingerprint: Sighting(NOW - 60, "192.0.2.7")})
    add(registry, "c revoked", ends=NOW + 3 * DAY)
    records = [each.record for each in registry.inventory.find("c revoked")]
    registry.inventory.revoke(records, RevocationReason.KEY_COMPROMISE, NOW)
    earlier = add(registry, "e seen", ends=NOW + 4 * DAY)
    registry.inventory.note_seen({earlier.fingerprint: Sighting(NOW - 600, "2001:db8::1")})


def names(*arguments: str) -> list[str]:
    return [line[:9].strip() for line in succeed("list", *arguments).lines[1:]]


# --- keyfob list ----------------------------------------------------------------------------------------------------


def test_a_list_says_who_since_when_until_when_and_when_last_seen(registry: Registry) -> None:
    """In columns under their names; days and times in UTC."""
    fill(registry)
    header, *lines = succeed("list").lines
    assert header.split() == ["NAME", "STATE", "SINCE", "UNTIL", "LAST", "SEEN"]
    assert [line[:20].split("  ")[0].strip() for line in lines] == [
        "a seen",
        "b active",
        "c revoked",
        "d expired",
        "e seen",
    ]
    day = time.strftime("%Y-%m-%d", time.gmtime(NOW))
    until = time.strftime("%Y-%m-%d", time.gmtime(NOW + DAY))
    assert lines[1].split() == ["b", "active", "active", day, until, "never"]
    seen = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(NOW - 60))
    assert lines[0].endswith(f"  {seen} 192.0.2.7")
    assert lines[2].split()[2:5] == ["revoked", day, day]
    assert len({line.index(f"  {line.split()[-1]}") for line in lines if line.endswith("never")}) == 1


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("name", "abcde"),
        ("issued", "bdace"),
        ("expires", "dbace"),
        ("seen", "bdcea"),
    ],
)
def test_a_list_is_sorted_as_asked(registry: Registry, order: str, expected: str) -> None:
    """And the other way round; by sight nobody is left out who was never seen."""
    fill(registry)
    assert [name[0] for name in names("--sort", order)] == list(expected)
    assert [name[0] for name in names("--sort", order, "--reverse")] == list(expected[::-1])


@pytest.mark.parametrize(
    ("state", "expected"), [("active", "abe"), ("expired", "d"), ("revoked", "c"), ("retiring", "")]
)
def test_a_list_may_be_of_one_state(registry: Registry, state: str, expected: str) -> None:
    """Without any, there is no header either."""
    fill(registry)
    assert "".join(name[0] for name in names("--state", state)) == expected
    assert (succeed("list", "--state", state).out == "") == (expected == "")


def test_programs_get_a_line_of_json_for_each(registry: Registry) -> None:
    """Every line is one object with the same words; moments are ISO 8601."""
    fill(registry)
    found = [json.loads(line) for line in succeed("list", "--json").lines]
    assert [each["name"][0] for each in found] == list("abcde")
    assert {tuple(each) for each in found} == {tuple(found[0])}
    revoked = found[2]
    assert revoked["state"] == "revoked"
    assert revoked["reason"] == "keyCompromise"
    assert revoked["revoked_at"] == time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(NOW))
    assert (revoked["seen_at"], revoked["retires_at"]) == (None, None)
    assert found[0]["seen_from"] == "192.0.2.7"


def test_a_renewed_device_ends_on_its_last_day(registry: Registry) -> None:
    """Its successor stands in a line of its own."""
    succeed("issue", "Rhea Group")
    succeed("renew", "Rhea Group", "--until", "3")
    retiring, active = succeed("list", "--sort", "issued").lines[1:]
    assert "retiring" in retiring
    assert time.strftime("%Y-%m-%d", time.gmtime(time.time() + 3 * DAY)) in retiring
    assert "active" in active
    assert registry.inventory.count() == 2


def test_nothing_in_a_list_moves_the_terminal_s_cursor(registry: Registry) -> None:
    """An inventory may have been written by somebody else."""
    entry = add(registry, "a\x1b[2Jb\u202e")
    registry.inventory.note_seen({entry.fingerprint: Sighting(NOW, "\x1b[31m")})
    for arguments in (["list"], ["list", "--json"]):
        out = succeed(*arguments).out
        assert "\x1b" not in out
        assert "\u202e" not in out


def test_a_long_list_begins_before_it_is_read(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first page is written when a second one has not been asked for; memory does not grow with the list."""
    issuer = registry.root.public_bytes(Encoding.DER)
    registry.inventory.add([Entry(f"device {n}", b"%d" % n, issuer, n + 1, NOW, NOW + DAY, NOW) for n in range(5000)])
    read, written = itertools.count(), list[int]()
    iterate = Inventory.iterate

    def count(self: Inventory, *arguments: Any, **options: Any) -> Any:
        for record in iterate(self, *arguments, **options):
            next(read)
            yield record

    class Output:
        encoding = "utf-8"

        def write(self, text: str) -> None:
            written.append(next(read))

        def flush(self) -> None:
            pass

    monkeypatch.setattr(Inventory, "iterate", count)
    monkeypatch.setattr("sys.stdout", Output())
    list_command.main(["--home", ".keyfob"], standalone_mode=False)
    assert len(written) >= 5
    assert written[0] <= 1100


def test_an_empty_list_is_empty(registry: Registry) -> None:
    """And no error."""
    assert registry.inventory.count() == 0
    assert succeed("list").out == succeed("list", "--json").out == ""


# --- keyfob show ----------------------------------------------------------------------------------------------------


@pytest.fixture
def device(registry: Registry) -> dict[str, Any]:
    """A renewed device with everything in its certificate, as `show --json` tells it."""
    succeed(
        "issue", "Rhea Group", "--email", "a@example.com", "--dns", "p.example", "--uri", "urn:x:1", "--unit", "Finance"
    )
    succeed("renew", "Rhea Group", "--key", "p384")
    assert registry.inventory.count() == 2
    described: dict[str, Any] = json.loads(succeed("show", "Rhea Group", "--json").out)
    return described


def test_show_says_everything_as_openssl_does(device: dict[str, Any]) -> None:
    """Serial number, fingerprint, subject and times, of the certificate that counts."""
    path = device["files"][0]
    said = subprocess.run(
        [
            "openssl",
            "x509",
            "-in",
            path,
            "-noout",
            "-serial",
            "-fingerprint",
            "-sha256",
            "-subject",
            "-nameopt",
            "RFC2253",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert f"serial={device['serial']}\n" in said
    assert device["fingerprint"] in said.replace(":", "").lower()
    assert f"subject={device['subject']}\n" in said
    assert (device["state"], device["key"], device["issuer"]) == ("active", "p384", "CN=Money App Test")
    assert (device["emails"], device["dns"], device["uris"]) == (["a@example.com"], ["p.example"], ["urn:x:1"])
    assert device["files"] == [".keyfob/devices/Rhea Group.pem", ".keyfob/devices/Rhea Group-key.pem"]
    [old] = device["history"]
    assert old["state"] == "retiring"


def test_show_finds_by_number_and_fingerprint(device: dict[str, Any]) -> None:
    """Exactly the one that is meant, even if it counts no longer."""
    [old] = device["history"]
    colons = ":".join(old["fingerprint"][at : at + 2] for at in range(0, 64, 2))
    for words in (old["serial"], old["serial"].lower(), old["fingerprint"], colons.upper()):
        found = json.loads(succeed("show", words, "--json").out)
        assert found["serial"] == old["serial"]
        assert found["files"] == []
        assert [each["serial"] for each in found["history"]] == [device["serial"]]


def test_show_is_read_by_people(device: dict[str, Any]) -> None:
    """One fact a line; the others of the name below."""
    succeed("revoke", device["history"][0]["serial"], "--reason", "superseded")
    said = succeed("show", "Rhea Group").out
    for line in (
        "name        Rhea Group",
        "state       active",
        "subject     CN=Rhea Group,OU=Finance",
        "e-mail      a@example.com",
        "key         p384",
        f"serial      {device['serial']}",
        "last seen   never",
        "others of this name:",
    ):
        assert f"\n{line}\n" in f"\n{said}"
    # The column is as wide as serial numbers mostly are; one in 256 is shorter.
    assert f"  {device['history'][0]['serial']:<40}  revoked, " in said
    assert "(superseded); issued" in said


@pytest.mark.parametrize("words", ["rhea group", "Rhea  Group", "Rhea Grop"])
def test_a_name_that_is_nearly_one_is_asked_about(device: dict[str, Any], words: str) -> None:
    """Typos and letter case."""
    assert device
    _, hint = fail(1, "show", words)
    assert hint == "did you mean 'Rhea Group'?"


def test_a_name_is_found_however_its_accents_are_typed(registry: Registry) -> None:
    """macOS writes them as characters of their own."""
    registry.issue(DeviceRequest("Caf\u00e9"))
    assert succeed("show", "Cafe\u0301").lines[0] == "name        Caf\u00e9"


def test_a_large_inventory_is_not_searched_for_what_was_meant(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error comes at once."""
    monkeypatch.setattr("keyfob.cli.options.GUESSED", 0)
    registry.issue(DeviceRequest("Rhea Group"))
    _, hint = fail(1, "show", "rhea group")
    assert hint == "see `keyfob list`"


def test_words_that_a_terminal_cannot_show_are_no_device(registry: Registry) -> None:
    """Nor does anything odd reach the database."""
    for words in ("", "a\udcffb", "a\nb", "\x1b[2J", "0" * 100_000):
        error, _ = fail(1, "show", words)
        assert "is no device" in error
        assert len(error) < 200
    assert registry.inventory.count() == 0


def test_a_character_that_the_terminal_lacks_is_spelt_out(registry: Registry) -> None:
    """In ASCII, for one."""
    registry.issue(DeviceRequest("K\u00fcche"))
    ended = subprocess.run(
        command("list", "--home", registry.folder.absolute()),
        capture_output=True,
        check=True,
        env=environment(PYTHONIOENCODING="ascii"),
    )
    assert b"K\\xfcche" in ended.stdout


def test_every_state_has_a_word(registry: Registry) -> None:
    """And so has every order; others are wrong use."""
    assert registry.inventory.count() == 0
    for state in State:
        succeed("list", "--state", state.value)
    fail(2, "list", "--state", "dunno")
    fail(2, "list", "--sort", "dunno")
