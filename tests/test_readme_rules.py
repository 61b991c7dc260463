"""README.md on the rules: its tables are the code's, and what it shows runs."""

import re
import shlex
import subprocess
import sys
import tomllib
import types
from datetime import UTC, datetime
from pathlib import Path

import pytest

from certificates import DAY, make_authority, make_leaf
from exchanges import ask, make_request, make_scope
from keyfob import Reason, load_gate
from keyfob.config.document import (
    ApplicationTable,
    AuditTable,
    CorsTable,
    Document,
    LoginTable,
    PolicyTable,
    ProviderTable,
    RootCertificateTable,
)
from keyfob.policy import SELECTORS, Allow, Deny, PolicyDecision
from keyfob.policy.domains import Domains, parse_domain
from keyfob.policy.selectors import ALIASES
from rules import ANY_DEVICE
from servers import ROOT, environment, keyfob

README = (ROOT / "README.md").read_text(encoding="utf-8")


def block(language: str, marker: str) -> str:
    """The one fenced block of `language` that holds `marker`."""
    [found] = [text for text in re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL) if marker in text]
    return str(found)


def test_every_selector_is_shown_as_its_row_writes_it() -> None:
    """A new row of code is a new line here; another spelling of one is named in its line."""
    shown = re.findall(r"^\| `(\{ [\w-]+ = .*?)` \| .*", README, re.MULTILINE)
    assert shown == list(dict.fromkeys(shown))
    assert set(shown) == {row.example for name, row in SELECTORS.items() if name not in ALIASES}
    for alias in ALIASES:
        assert f"also `{alias}`" in README


def test_every_decision_stands_in_its_table() -> None:
    """And no other does."""
    rows = re.findall(r"^\| `(\w+)`(?: \(also `(\w+)`\))? \| [^|]+ \|$", README, re.MULTILINE)
    assert {name for name, _ in rows} >= set(PolicyDecision)


DOMAINS = re.findall(r"^\| (`\S+\.com\S*`(?:, `\S+`)*) \| (.*?) \| (.*?) \|$", README, re.MULTILINE)


@pytest.mark.parametrize("row", DOMAINS)
def test_domains_cover_what_their_table_says(row: tuple[str, str, str]) -> None:
    """Each spelling, each thing that it covers, and each that it does not."""
    for spelling in re.findall(r"`([^`]+)`", row[0]):
        domain = parse_domain(spelling)
        table = Domains([(domain, "it")])
        for expected, cell in (("it", row[1]), (None, row[2])):
            for covered in re.findall(r"`([^`]+)`", cell):
                host, slash, path = covered.partition("/")
                paths = table.at_host(host or domain.host)
                assert (paths.find(slash + path or "/") if paths else None) == expected, (spelling, covered)


def test_the_table_of_domains_was_found() -> None:
    """Or nothing would have been asked above."""
    assert README.count("| covers | does not cover |") == 1
    assert len(DOMAINS) == 7


@pytest.mark.parametrize(
    "model",
    [
        Document,
        RootCertificateTable,
        AuditTable,
        LoginTable,
        ProviderTable,
        ApplicationTable,
        PolicyTable,
        CorsTable,
    ],
)
def test_every_key_is_explained(model: type) -> None:
    """In a table, or in an example."""
    for key in model.model_fields:  # type: ignore[attr-defined]
        assert re.search(rf"`{key}`|^{key} = |^\[+{key}\]+|`{key} = ", README, re.MULTILINE), key


def write_shown(folder: Path) -> None:
    """The example of the rules, with the files that it names."""
    (folder / "access.toml").write_text(block("toml", "[[groups]]"), encoding="utf-8")
    (folder / "revoked.txt").write_text("")
    (folder / "phones.txt").write_text("Guest tablet\n")


def test_the_shown_rules_load_and_do_what_is_said_of_them(tmp_path: Path) -> None:
    """Groups, a reusable policy, a path of its own, wildcards, a list, and a time of day."""
    root = make_authority()
    phone, guest, stranger = (make_leaf(root, name).pem for name in ("Rhea Group", "Guest tablet", "Stranger"))
    (tmp_path / "ca.pem").write_text(root.pem)
    write_shown(tmp_path)
    gate = load_gate(tmp_path / "access.toml")
    moment = make_leaf(root).certificate.not_valid_before_utc.replace(hour=12).timestamp() + 86_400

    def ask(pem: str, path: str = "/", host: str = "money.example.com", client: str = "192.0.2.9") -> object:
        return gate.check(make_request(make_scope([pem], host=host, path=path, client=(client, 1)), moment))

    for pem in (phone, guest):
        assert isinstance(ask(pem), Allow)
        assert isinstance(ask(pem, host="money.home.example.com"), Allow)
    assert isinstance(ask(stranger), Deny)
    assert isinstance(ask(phone, "/admin/users"), Allow)
    assert isinstance(ask(phone, "/admin", client="203.0.113.9"), Deny)
    assert isinstance(ask(guest, "/admin"), Deny)
    ambiguous = ask(phone, "//admin")
    assert isinstance(ambiguous, Deny)
    assert ambiguous.reason is Reason.PATH_AMBIGUOUS


def test_the_shown_records_are_configured_with_every_key() -> None:
    """As they stand in the example."""
    assert set(tomllib.loads(block("toml", "[audit]"))["audit"]) == set(AuditTable.model_fields)


def mask(text: str) -> str:
    """Without what differs each time: serial numbers and moments."""
    return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "MOMENT", re.sub(r"\b[0-9A-F]{30,40}\b", "SERIAL", text))


def run_shown(folder: Path, command: str, *more: str) -> None:
    """Runs the command of a transcript, and holds what it prints against the transcript."""
    [shown] = [each for each in re.findall(r"```\n\$ (.*?)```", README, re.DOTALL) if each.startswith(command)]
    line, _, expected = shown.partition("\n")
    program, *arguments = shlex.split(line)
    assert program == "keyfob"
    said = subprocess.run(
        keyfob(*arguments, *more), cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )
    assert mask(said.stdout) == mask(expected)
    assert said.returncode == 1


def test_the_transcript_of_check_is_true(tmp_path: Path) -> None:
    """For the example of the rules, with three slips of the pen."""
    (tmp_path / "ca.pem").write_text(make_authority("Money App Test").pem)
    write_shown(tmp_path)
    written = (tmp_path / "access.toml").read_text(encoding="utf-8")
    for right, slip in (
        ("revoked = ", "revokd = "),
        ('decision = "non_identity"\ninclude = [{ group', 'decision = "nonidentity"\ninclude = [{ group'),
        ('id = "Office"', 'id = "Ofice"'),
    ):
        assert right in written
        written = written.replace(right, slip)
    (tmp_path / "access.toml").write_text(written, encoding="utf-8")
    run_shown(tmp_path, "keyfob check")


def test_the_transcript_of_explain_is_true(tmp_path: Path) -> None:
    """At noon, since one of the rules asks for the time."""
    noon = (datetime.now(UTC) + DAY).replace(hour=12).isoformat()
    root = make_authority("Money App Test")
    (tmp_path / "ca.pem").write_text(root.pem)
    make_leaf(root, "Guest tablet").write(tmp_path, "guest")
    write_shown(tmp_path)
    run_shown(tmp_path, "keyfob explain", "--at", noon)


def test_the_rooms_run_as_they_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a device of the group, and for one that is let in and no more."""
    root = make_authority()
    (tmp_path / "ca.pem").write_text(root.pem)
    rules = ANY_DEVICE.replace("localhost", "money.example.com")
    group = '[[groups]]\nname = "Accountants"\ninclude = [{ common_name = { common_name = "Rhea Group" } }]\n'
    (tmp_path / "access.toml").write_text(rules + group, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    # FastAPI looks annotations up in the module of their function.
    module = types.ModuleType("rooms")
    monkeypatch.setitem(sys.modules, "rooms", module)
    exec(block("python", "accountant = requires"), module.__dict__)  # noqa: S102
    member, guest = ([make_leaf(root, name).pem] for name in ("Rhea Group", "Guest tablet"))

    def get(chain: list[str], path: str) -> tuple[int, str]:
        answer = ask(module.app, make_scope(chain, path=path, raw_path=path.encode()))
        return answer.status, answer.body.decode()

    assert [get(member, path) for path in ("/books", "/me", "/menu", "/")] == [
        (200, '"the books"'),
        (200, '"Rhea Group"'),
        (200, '["books"]'),
        (200, "office\n"),
    ]
    assert (get(guest, "/menu"), get(guest, "/")) == ((200, "[]"), (200, '"counter"'))
    for path in ("/books", "/me"):
        status, body = get(guest, path)
        assert (status, "requirement-not-met" in body) == (403, True)
