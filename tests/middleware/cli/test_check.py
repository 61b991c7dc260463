"""cli.check: what is said where, and with which status."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner

from certificates import DAY, make_authority
from keyfob.cli.main import commands

CA = make_authority(ends=3650 * DAY)

SOUND = """\
source = { kind = "tls" }

[[root_certificates]]
name = "Money App Test"
certificate = "ca.pem"
associated_hostnames = ["money.example.com"]

[[applications]]
name = "Budget"
domain = "money.example.com"
policies = [{ name = "P", decision = "non_identity", include = [{ certificate = {} }] }]
"""
WARNED = SOUND.replace('["money.example.com"]', '["money.example.com", "mony.example.com"]')
BROKEN = SOUND.replace("certificate = {} }", "certficate = {} }").replace('kind = "tls"', 'kind = "tsl"')


class Said(NamedTuple):
    """A command's end."""

    status: int
    out: str
    err: str


Check = Callable[..., Said]


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Check:
    """Runs `keyfob check` where a configuration is."""
    CA.write(tmp_path, "ca")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")

    def check(text: str | None, *arguments: str, color: bool = False) -> Said:
        if text is not None:
            Path("access.toml").write_text(text)
        ended = CliRunner().invoke(commands, ["check", *arguments], color=color, standalone_mode=False)
        if ended.exception is not None:
            raise ended.exception
        return Said(int(ended.return_value), ended.stdout, ended.stderr)

    return check


def test_a_sound_file_is_a_word_on_stderr(check: Check) -> None:
    """Nothing was found, so there is no data."""
    assert check(SOUND) == Said(0, "", "access.toml is sound\n")


def test_problems_are_data_with_a_status(check: Check) -> None:
    """Where, what, the line itself, and the cure; how many there are is talk."""
    status, out, err = check(BROKEN)
    assert status == 1
    assert err == "2 problems: nobody would be let in\n"
    assert out.splitlines() == [
        "access.toml:1: problem: source.kind: 'tsl' is not one of its values",
        '    1 | source = { kind = "tsl" }',
        "    hint: write 'tls' or 'header'",
        "access.toml:11: problem: applications[0].policies[0].include[0]: 'certficate' is no selector",
        '    11 | policies = [{ name = "P", decision = "non_identity", include = [{ certficate = {} }] }]',
        "    hint: did you mean 'certificate'?",
    ]


def test_warnings_fail_if_asked_to(check: Check) -> None:
    """Else a sound file stays one."""
    status, out, err = check(WARNED)
    assert (status, err) == (0, "access.toml is sound, with 1 warning\n")
    assert out.startswith("access.toml:6: warning: root_certificates[0].associated_hostnames[1]: no application has")
    assert check(WARNED, "--strict").status == 1
    assert check(SOUND, "--strict").status == 0


def test_programs_get_a_line_of_json_for_each(check: Check) -> None:
    """And no talk."""
    status, out, err = check(BROKEN, "--json")
    first, second = map(json.loads, out.splitlines())
    assert (status, err) == (1, "")
    assert first == {
        "kind": "problem",
        "file": "access.toml",
        "line": 1,
        "place": "source.kind",
        "message": "'tsl' is not one of its values",
        "hint": "write 'tls' or 'header'",
        "text": 'source = { kind = "tsl" }',
    }
    assert second["line"] == 11
    assert check(SOUND, "--json") == Said(0, "", "")


def test_a_file_by_another_name(check: Check) -> None:
    """And one that is not there is a finding like any other."""
    status, out, err = check(None, "gone.toml")
    assert (status, err) == (1, "1 problem: nobody would be let in\n")
    assert out == "gone.toml: problem: there is no such file\n    hint: name an access.toml\n"


def test_colours_are_for_terminals(check: Check) -> None:
    """What is piped has none."""
    assert "\x1b[" in check(BROKEN, color=True).out
    assert "\x1b[" not in check(BROKEN).out


@pytest.mark.parametrize("columns", [40, 80, 100, 300])
def test_lines_are_as_wide_as_the_terminal_and_never_wider_than_100(
    check: Check, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    """But for a word that is longer than that."""
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = check(BROKEN.replace('"P"', f'"{"x" * 200}"')).out.splitlines()
    assert lines
    assert all(len(line) <= min(columns, 100) or " " not in line.strip() for line in lines)


def test_nothing_in_a_file_moves_the_terminals_cursor(check: Check) -> None:
    """What cannot be printed is spelt out."""
    out = check(SOUND.replace('kind = "tls"', '"\\u001b[2Jkind\\u202e" = "tls"')).out
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert "\\x1b[2Jkind\\u202e" in out
