"""cli.explain: the walk through the gate, for people and for programs."""

import json
import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest
from click.testing import CliRunner
from cryptography import x509

from certificates import DAY, make_authority, make_leaf
from keyfob.certificate import format_serial
from keyfob.cli.main import commands
from keyfob.errors import KeyfobError
from revocations import make_list
from servers import environment
from servers import keyfob as command

CA, OTHER = make_authority(ends=3650 * DAY), make_authority("Other CA")
PHONE, WITHDRAWN = make_leaf(CA, "Rhea Group"), make_leaf(CA, "Lost phone")

RULES = """\
source = { kind = "tls" }

[[root_certificates]]
name = "Money App Test"
certificate = "ca.pem"
associated_hostnames = ["money.example.com", "2001:db8::1", "xn--mnchen-3ya.example"]
revoked = "revoked.txt"

[[applications]]
name = "Budget"
domain = "money.example.com"
self_hosted_domains = ["2001:db8::1", "xn--mnchen-3ya.example"]

[[applications.policies]]
name = "My iPhone"
decision = "non_identity"
include = [{ certificate = {} }]
require = [
  { common_name = { common_name = "Rhea Group" } },
  { group = { id = "Where and when" } },
]

[[groups]]
name = "Where and when"
include = [{ ip = { ip = "192.0.2.0/24" } }, { method = { method = "HEAD" } }]
"""
URL = "https://money.example.com/admin"


class Said(NamedTuple):
    """A command's end."""

    status: int
    out: str
    err: str


Explain = Callable[..., Said]


@pytest.fixture
def explain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Explain:
    """Runs `keyfob explain` where a configuration and some certificates are."""
    CA.write(tmp_path, "ca")
    for name, pair in {
        "phone": PHONE,
        "lost": WITHDRAWN,
        "old": make_leaf(CA, "Rhea Group", begins=-9 * DAY, ends=-2 * DAY),
        "stranger": make_leaf(OTHER, "Rhea Group"),
    }.items():
        pair.write(tmp_path, name)
    (tmp_path / "revoked.txt").write_text(f"serial={WITHDRAWN.certificate.serial_number:X}\n")
    (tmp_path / "access.toml").write_text(RULES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")

    def explain(*arguments: str, url: str = URL, color: bool = False) -> Said:
        line = ["explain", "--url", url, *arguments]
        ended = CliRunner().invoke(commands, line, color=color, standalone_mode=False)
        if ended.exception is not None:
            raise ended.exception
        return Said(int(ended.return_value), ended.stdout, ended.stderr)

    return explain


def say_when(certificate: x509.Certificate) -> str:
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return f"valid from {begins:%Y-%m-%d %H:%M} to {ends:%Y-%m-%d %H:%M} UTC"


def test_an_admission_is_walked_step_by_step(explain: Explain) -> None:
    """Each rule with the line on which it stands."""
    status, out, err = explain("--certificate", "phone.pem", "--ip", "192.0.2.7")
    certificate = PHONE.certificate
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        "✓ host: money.example.com",
        "✓ source: a certificate was presented",
        "✓ certificate: CN=Rhea Group",
        f"  ✓ serial number {format_serial(certificate.serial_number)}",
        "  ✓ issued by CN=Test CA",
        f"  ✓ {say_when(certificate)}",
        "✓ chain: leads to a root of this host",
        f"  ✓ CN=Test CA, {say_when(CA.certificate)}",
        "✓ revocation: not withdrawn",
        "✓ application: Budget",
        "✓ policy: My iPhone (non_identity) matches [access.toml:14]",
        "  ✓ include certificate [access.toml:17]",
        "  ✓ require common_name: Rhea Group [access.toml:19]",
        "  ✓ require group: id Where and when [access.toml:20]",
        "    ✓ include ip: 192.0.2.0/24 [access.toml:25]",
        "    ✗ include method: HEAD [access.toml:25]",
        "✓ let in by My iPhone of Budget",
    ]


REFUSED: dict[str, tuple[list[str], str, str]] = {
    "no certificate": ([], "✗ source: no certificate is shown", "certificate-missing"),
    "expired": (["--certificate", "old.pem"], "✗ chain: CN=Rhea Group ended at ", "certificate-expired"),
    "another CA": (["--certificate", "stranger.pem"], "✗ chain: no path from CN=Rhea Group", "certificate-untrusted"),
    "withdrawn": (["--certificate", "lost.pem"], "✗ revocation: CN=Lost phone, serial", "certificate-revoked"),
    "elsewhere": (["--certificate", "phone.pem", "--ip", "198.51.100.1"], "✗ policy: My iPhone", "no-matching-policy"),
}


@pytest.mark.parametrize(("arguments", "line", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_refusal_has_its_cross_where_it_happens(
    explain: Explain, arguments: list[str], line: str, reason: str
) -> None:
    """And the reason that the audit log would have."""
    status, out, _ = explain(*arguments)
    assert status == 1
    assert any(each.startswith(line) for each in out.splitlines())
    assert out.splitlines()[-1] == f"✗ refused: {reason}"


def test_a_list_of_revocations_is_asked(explain: Explain) -> None:
    """And where it has lapsed, nobody can tell."""
    rules = Path("access.toml")
    rules.write_text(RULES.replace('revoked = "revoked.txt"', 'crl = ["ca.crl"]'))
    Path("ca.crl").write_bytes(make_list(CA, [WITHDRAWN]))
    assert "✗ revocation: CN=Lost phone" in explain("--certificate", "lost.pem").out
    Path("ca.crl").write_bytes(make_list(CA, begins=-2 * DAY, ends=-DAY))
    status, out, _ = explain("--certificate", "phone.pem")
    assert (status, "? revocation: nobody can tell whether CN=Rhea Group" in out) == (1, True)
    assert out.splitlines()[-1] == "✗ refused: certificate-status-unknown"


def test_an_open_question_says_what_would_answer_it(explain: Explain) -> None:
    """As talk, and only where it would."""
    status, out, err = explain("--certificate", "phone.pem")
    assert (status, "    ? include ip: 192.0.2.0/24" in out) == (1, True)
    assert err == "hint: where a ? stands, give the client's own address with --ip\n"
    assert explain("--certificate", "phone.pem", "--json").err == ""


def test_the_moment_can_be_another(explain: Explain) -> None:
    """With its zone."""
    later = (PHONE.certificate.not_valid_after_utc + timedelta(hours=1)).isoformat()
    before = (PHONE.certificate.not_valid_after_utc - timedelta(hours=1)).isoformat().replace("+00:00", "Z")
    common = ("--certificate", "phone.pem", "--ip", "192.0.2.7", "--at")
    assert [explain(*common, moment).status for moment in (before, later)] == [0, 1]


def test_the_method_and_headers_count(explain: Explain) -> None:
    """As they would in a request."""
    assert explain("--certificate", "phone.pem", "--method", "HEAD").status == 0
    rule = '{ header = { name = "X-Part", value = "left" } }'
    Path("access.toml").write_text(RULES.replace('{ method = { method = "HEAD" } }', rule))
    for value, status in (("left", 0), ("right", 1)):
        assert explain("--certificate", "phone.pem", "--header", f"x-part: {value}").status == status


HOSTS = {
    "https://[2001:DB8::1]:8443/": 0,
    "https://MONEY.example.com.:8443/": 0,
    "wss://money.example.com/talk": 0,
    "https://xn--mnchen-3ya.example/": 0,
    "https://other.example.com/": 1,
}


@pytest.mark.parametrize("url", HOSTS)
def test_urls_are_what_browsers_take(explain: Explain, url: str) -> None:
    """IPv6, ports, WebSockets, punycode."""
    assert explain("--certificate", "phone.pem", "--ip", "192.0.2.7", url=url).status == HOSTS[url]


def test_a_path_arrives_decoded_once(explain: Explain) -> None:
    """As servers do it, so that what is ambiguous there is here."""
    policy = '{ name = "Any", decision = "non_identity", include = [{ certificate = {} }] }'
    below = f'\n[[applications]]\nname = "Admin"\ndomain = "money.example.com/admin"\npolicies = [{policy}]\n'
    Path("access.toml").write_text(RULES.replace("\n[[groups]]", f"{below}\n[[groups]]"))
    answers = {
        path: explain("--certificate", "phone.pem", url=f"https://money.example.com{path}").out.splitlines()[-1]
        for path in ("/admin/x", "/%61dmin", "/%2561dmin", "/a/%2e%2e/admin", "/ADMIN", "//admin")
    }
    assert answers["/admin/x"] == answers["/%61dmin"] == "✓ let in by Any of Admin"
    assert {answers[path] for path in list(answers)[2:]} == {"✗ refused: path-ambiguous"}


def test_programs_get_the_whole_trace(explain: Explain) -> None:
    """One object, with the same steps and their lines."""
    status, out, err = explain("--certificate", "phone.pem", "--ip", "192.0.2.7", "--json")
    trace: dict[str, Any] = json.loads(out)
    assert (status, err) == (0, "")
    assert {key: trace[key] for key in ("admitted", "reason", "application", "policy")} == {
        "admitted": True,
        "reason": None,
        "application": "Budget",
        "policy": "My iPhone",
    }
    kinds = ["host", "source", "certificate", "chain", "revocation", "application", "policy", "decision"]
    assert [step["kind"] for step in trace["steps"]] == kinds
    policy = trace["steps"][-2]
    assert (policy["file"], policy["line"], policy["held"]) == ("access.toml", 14, True)
    assert [part["line"] for part in policy["parts"]] == [17, 19, 20]


def test_colours_are_for_terminals(explain: Explain) -> None:
    """What is piped has none."""
    assert "\x1b[32m" in explain("--certificate", "phone.pem", color=True).out
    assert "\x1b" not in explain("--certificate", "phone.pem").out


def test_no_colour_if_the_person_wants_none(explain: Explain, monkeypatch: pytest.MonkeyPatch) -> None:
    """As no-color.org asks of every program."""
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in explain("--certificate", "phone.pem", color=True).out


def test_names_in_a_certificate_cannot_move_the_cursor(explain: Explain) -> None:
    """Whoever makes a certificate writes what he likes."""
    make_leaf(OTHER, "a\x1b[2J\u202eb").write(Path(), "evil")
    out = explain("--certificate", "evil.pem").out
    assert "\x1b" not in out
    assert "\u202e" not in out


def test_a_terminal_without_ticks_gets_plain_marks(explain: Explain, tmp_path: Path) -> None:
    """In a locale that has no such characters."""
    ended = subprocess.run(
        command("explain", "--url", URL, "--certificate", "phone.pem"),
        capture_output=True,
        check=False,
        timeout=60,
        cwd=tmp_path,
        env=environment(PYTHONIOENCODING="ascii"),
    )
    assert ended.stdout.startswith(b"+ host: money.example.com\n")
    assert b"\n- refused: no-matching-policy\n" in ended.stdout


WRONGLY_USED = {
    "no moment": ["--at", "tomorrow"],
    "a moment without a zone": ["--at", "2027-01-31"],
    "a moment that no certificate knows": ["--at", "0001-01-01T00:00:00+14:00"],
    "an early moment": ["--at", "1900-01-01T00:00:00Z"],
    "no address": ["--ip", "money.example.com"],
    "an empty address": ["--ip", ""],
    "no header": ["--header", "X-Part"],
    "small letters": ["--method", "post"],
}


@pytest.mark.parametrize("arguments", WRONGLY_USED.values(), ids=WRONGLY_USED)
def test_wrong_use_says_what_would_be_right(explain: Explain, arguments: list[str]) -> None:
    """As every command does, with status 2."""
    with pytest.raises(click.UsageError) as raised:
        explain(*arguments)
    assert raised.value.exit_code == 2


def test_a_moment_without_a_zone_is_written_with_one(explain: Explain) -> None:
    """In words that can be pasted."""
    with pytest.raises(click.UsageError, match=r"write 2027-01-31T00:00:00\+00:00 for UTC"):
        explain("--at", "2027-01-31")


@pytest.mark.parametrize("name", ["gone.pem", "phone-key.pem", "access.toml", "."])
def test_a_file_that_is_no_certificate_says_so(explain: Explain, name: str) -> None:
    """With a hint."""
    with pytest.raises(KeyfobError) as raised:
        explain("--certificate", name)
    assert raised.value.message.startswith(name)
    assert raised.value.hint


def test_a_broken_configuration_points_to_check(explain: Explain) -> None:
    """Which has the lines."""
    Path("access.toml").write_text(RULES.replace("certificate = {}", "certficate = {}").replace("kind", "kynd"))
    with pytest.raises(KeyfobError) as raised:
        explain()
    assert "problems" in raised.value.message
    assert raised.value.hint == "keyfob check access.toml says more, with the lines"
