"""config.checking: every problem at once, in whichever file it stands, on its line."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certificates import DAY, make_authority
from inventories import make_entries, make_entry
from keyfob.config.checking import Finding, check, find_places, load
from keyfob.config.repairs import repair
from keyfob.inventory import RevocationReason, open_inventory

CA = make_authority(ends=3650 * DAY)
NOW = datetime.now(UTC)

SOUND = """\
[source]
kind = "tls"

[[root_certificates]]
name = "Money App Test"
certificate = "ca.pem"
associated_hostnames = ["money.example.com"]

[[applications]]
name = "Budget"
domain = "money.example.com"
policies = [
  "Phones",
  { name = "Office", decision = "non_identity", include = [
    { ip_list = { id = "Home" } },
    { group = { id = "Tablets" } },
  ], require = [{ certificate = {} }] },
]

[[policies]]
name = "Phones"
decision = "non_identity"
include = [{ common_name = { common_name = "Phone" } }]

[[groups]]
name = "Tablets"
include = [{ common_name = { starts_with = "tablet-" } }]

[[ip_lists]]
name = "Home"
items = ["192.0.2.0/24"]
"""
SOUND = SOUND.replace("{ starts_with", "{ common_name = { starts_with").replace('"tablet-" }', '"tablet-" } }')

EXPORT: dict[str, Any] = {
    "applications": [
        {
            "name": "Theirs",
            "type": "self_hosted",
            "domain": "theirs.example.com",
            "policies": [{"name": "P", "decision": "non_identity", "include": [{"certificate": {}}]}],
        }
    ]
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a CA in it."""
    CA.write(tmp_path, "ca")
    return tmp_path


def look(folder: Path, text: str, name: str = "access.toml") -> list[Finding]:
    file = folder / name
    file.write_text(text)
    return check(file, NOW)


def places(findings: list[Finding]) -> list[tuple[str, int | None, str]]:
    return [(Path(each.file).name, each.line, each.problem.place) for each in findings]


def test_a_sound_file_has_nothing_to_find(folder: Path) -> None:
    """Nor to warn of."""
    assert look(folder, SOUND) == []


def test_a_problem_has_its_line_and_what_stands_there(folder: Path) -> None:
    """In TOML as in JSON."""
    [finding] = look(folder, SOUND.replace('"192.0.2.0/24"', '"192.0.2.0/99"'))
    assert places([finding]) == [("access.toml", 31, "ip_lists[0].items[0]")]
    assert finding.text == 'items = ["192.0.2.0/99"]'
    [finding] = look(folder, json.dumps({"source": {"kind": "tls"}, "applications": []}, indent=1), "access.json")
    assert (finding.line, finding.text) == (5, '"applications": []')


def test_problems_of_form_hide_none_of_the_others(folder: Path) -> None:
    """A misspelt key here, a missing file there, a name that nothing has: all in one go, in the order of lines."""
    broken = (
        SOUND.replace('kind = "tls"', 'kind = "tsl"')
        .replace('certificate = "ca.pem"', 'certificate = "gone.pem"\nclr = ["ca.crl"]')
        .replace('"Phones",', '"Phone",')
        .replace('id = "Home"', 'id = "Hom"')
        .replace('id = "Tablets"', 'id = "Tablet"')
        .replace("common_name = { common_name = { starts", "comon_name = { common_name = { starts")
    )
    findings = look(folder, broken)
    assert [(line, place) for _, line, place in places(findings)] == [
        (2, "source.kind"),
        (6, "root_certificates[0].certificate"),
        (7, "root_certificates[0].clr"),
        (14, "applications[0].policies[0]"),
        (16, "applications[0].policies[1].include[0]"),
        (17, "applications[0].policies[1].include[1]"),
        (28, "groups[0].include[0]"),
    ]
    assert [each.problem.hint for each in findings[-4:-1]] == [
        "did you mean 'Phones'?",
        "did you mean 'Home'?",
        "did you mean 'Tablets'?",
    ]
    assert not any(each.is_warning for each in findings)


HIDDEN = {
    "by a decision": ('decision = "non_identity", include', 'decision = "yes", include'),
    "by a domain": ('domain = "money.example.com"', 'domain = "https://money.example.com"'),
    "by an application's name": ('name = "Budget"', "name = 5"),
    "by a host": ('["money.example.com"]', '["money.example.com/x"]'),
    "by a root's name": ('name = "Money App Test"', 'name = ""'),
    "by a group": ('name = "Tablets"\ninclude', 'name = "Tablets"\ninclud'),
    "by a list": ('["192.0.2.0/24"]', "[]"),
    "by a policy": ('name = "Phones"\ndecision', 'name = "Phones"\nid = 5\ndecision'),
    "by a spare key": ("[source]", "spare = 1\n[source]"),
    "by the source": ("[source]", "[spare]"),
}


def _find_table(text: str) -> str:
    """The table in which SOUND has been changed."""
    changed = next(number for number, pair in enumerate(zip(SOUND, text, strict=False)) if pair[0] != pair[1])
    table = SOUND[: changed + 1].rpartition("[[")[2].partition("]]")[0]
    return f"{table}[0]" if "[[" in SOUND[:changed] else "spare"


@pytest.mark.parametrize(("right", "wrong"), HIDDEN.values(), ids=HIDDEN)
def test_one_problem_of_form_makes_no_others_up(folder: Path, right: str, wrong: str) -> None:
    """What only is not there because something else was wrong is no problem of its own."""
    broken = SOUND.replace(right, wrong)
    assert broken != SOUND
    few = look(folder, broken)
    assert few
    assert {each.problem.place.partition(".")[0] for each in few} <= {_find_table(broken), "source"}
    more = look(folder, broken.replace("{ certificate = {} }", '{ group = { id = "Nobody" } }'))
    assert [each.problem.message for each in more if each not in few] == ["'Nobody' is no group"]


def test_a_root_keeps_its_place_when_another_is_left_out(folder: Path) -> None:
    """The problem behind the first one is still the second one's."""
    roots = '[[root_certificates]]\nname = 5\ncertificate = "ca.pem"\nassociated_hostnames = ["a.example"]\n'
    text = SOUND.replace("[[root_certificates]]", f"{roots}[[root_certificates]]").replace(
        'name = "Money App Test"\ncertificate = "ca.pem"', 'name = "Money App Test"\ncertificate = "gone.pem"'
    )
    assert [place for _, _, place in places(look(folder, text))] == [
        "root_certificates[0].name",
        "root_certificates[1].certificate",
    ]


@pytest.mark.parametrize(
    ("text", "line"), [("a = 1\na = 2\n", 2), ("[source\n", 1), ('source = """\n\n', 3), ("a = 1\n\xa0b = 2", 2)]
)
def test_what_is_no_toml_has_the_line_of_the_parser(folder: Path, text: str, line: int) -> None:
    """Whatever comes behind it cannot be read."""
    [finding] = look(folder, text)
    assert finding.problem.message.startswith("is not TOML")
    assert finding.line in (line, None)


def test_a_file_that_cannot_be_read_is_a_finding(folder: Path) -> None:
    """And no exception."""
    assert [each.problem.message for each in check(folder / "gone.toml", NOW)] == ["there is no such file"]
    (folder / "bytes.toml").write_bytes(b"\xff\xfe")
    [finding] = check(folder / "bytes.toml", NOW)
    assert (finding.line, finding.problem.message[:14]) == (None, "cannot be read")


# --- What is imported -------------------------------------------------------------------------------------------------


def importing(folder: Path, export: Any, text: str = SOUND) -> list[Finding]:
    (folder / "theirs.json").write_text(json.dumps(export, indent=1))
    return look(folder, 'import = ["theirs.json"]\n' + text)


def test_a_problem_in_an_import_has_its_own_file_and_line(folder: Path) -> None:
    """Whether the export is wrong in itself, or does not fit here."""
    unsupported = json.loads(json.dumps(EXPORT).replace('"certificate"', '"device_posture"'))
    [finding] = importing(folder, unsupported)
    assert places([finding])[0][:2] == ("theirs.json", 13)
    [rootless] = importing(folder, EXPORT)
    assert places([rootless])[0][:2] == ("theirs.json", 6)
    assert rootless.problem.message == "no root certificate is associated with theirs.example.com"
    assert rootless.text == '"domain": "theirs.example.com",'


def test_a_broken_import_does_not_hide_what_is_wrong_beside_it(folder: Path) -> None:
    """Every import is read, and the file's own form is looked at."""
    (folder / "no.json").write_text("{")
    (folder / "theirs.json").write_text(json.dumps(EXPORT).replace("self_hosted", "shelf_hosted"))
    head = 'import = ["no.json", "theirs.json", "gone.json"]\n'
    findings = look(folder, head + SOUND.replace("[source]\nkind", "[source]\nkynd"))
    assert [(file, line) for file, line, _ in places(findings)] == [
        ("access.toml", 1),
        ("access.toml", 2),
        ("access.toml", 3),
        ("no.json", 1),
        ("theirs.json", 1),
    ]
    assert findings[0].problem.message == "gone.json: there is no such file"


@pytest.mark.parametrize("written", ['"theirs.json"', "5", "[5]", '[""]', '["/"]', '["a\\u0000b"]'])
def test_an_import_that_is_no_list_of_files_stands_on_its_line(folder: Path, written: str) -> None:
    """Of the file that imports."""
    findings = look(folder, f"import = {written}\n{SOUND}")
    assert findings
    assert {each.line for each in findings} == {1}


def test_what_stays_with_the_cloud_is_a_warning(folder: Path) -> None:
    """In the file where it stands."""
    root = SOUND.replace('["money.example.com"]', '["money.example.com", "theirs.example.com"]')
    also = {
        "applications": [*EXPORT["applications"], {"name": "Launcher", "type": "app_launcher", "domain": "x.example"}]
    }
    [warning] = importing(folder, also, root)
    assert (Path(warning.file).name, warning.is_warning) == ("theirs.json", True)


def test_warnings_of_imported_rules_stand_where_these_are(folder: Path) -> None:
    """And nothing is said of what an export has too much of."""
    root = SOUND.replace('["money.example.com"]', '["money.example.com", "theirs.example.com"]')
    export = json.loads(json.dumps(EXPORT))
    export["groups"] = [{"id": "g", "name": "Unused", "include": [{"certificate": {}}]}]
    export["applications"][0]["policies"][0]["exclude"] = [{"certificate": {}}]
    [warning] = importing(folder, export, root)
    assert "can never match" in warning.problem.message
    assert places([warning])[0][:2] == ("theirs.json", 8)


# --- Where rules stand ------------------------------------------------------------------------------------------------


def test_the_rules_of_policies_and_groups_have_places(folder: Path) -> None:
    """Those of a reusable policy where it is defined."""
    file = folder / "access.toml"
    file.write_text(SOUND)
    assembly, lines = load(file)
    written = find_places(assembly)
    [application] = assembly.applications
    assert [written[id(policy.rules)] for policy in application.written] == [
        "policies[0]",
        "applications[0].policies[1]",
    ]
    members = application.written[1].rules.include[1].members
    assert written[id(members)] == "groups[0]"
    assert lines.show("groups[0].include[0]") == f"{file}:27"
    assert lines.show("") == ""


# --- Inventories ------------------------------------------------------------------------------------------------------


def write_sound(folder: Path, inventory: str) -> Path:
    """The sound configuration with an inventory; its path."""
    CA.write(folder, "ca")
    written = SOUND.replace('"ca.pem"\n', f'"ca.pem"\ninventory = "{inventory}"\n')
    (folder / "access.toml").write_text(written, encoding="utf-8")
    return folder / "access.toml"


def test_what_an_inventory_holds_is_told(tmp_path: Path) -> None:
    """To whoever wants to know; an inventory of nobody is easily mistaken for the right one."""
    with open_inventory(tmp_path / "inventory.db", create=True) as inventory:
        inventory.add(make_entries(["phone", "laptop", "tablet"]))
        inventory.revoke([inventory.find("phone")[0].record], RevocationReason.UNSPECIFIED, 1)
        inventory.renew(make_entry("laptop"), int(NOW.timestamp()) + 86_400)
    stock: list[str] = []
    assert check(write_sound(tmp_path, "inventory.db"), NOW, stock) == []
    assert stock == [
        f"the inventory {tmp_path}/inventory.db: 4 certificates, 1 withdrawn, 1 with a last day",
    ]
    assert check(write_sound(tmp_path, "gone.db"), NOW, stock) != []
    assert len(stock) == 1


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:sesame@localhost:1/x",
        "postgresql://me:ses@me/sesame@localhost:1/x",
        "postgresql://:sesame@/x?host=/nowhere",
        "postgresql:///x?host=/nowhere&password=sesame",
        "mysql://me:sesame@localhost/x",
    ],
)
def test_a_password_is_not_shown_with_the_line_that_it_stands_on(tmp_path: Path, url: str) -> None:
    """What `keyfob check` finds is copied into tickets."""
    [finding] = check(write_sound(tmp_path, url), NOW)
    assert "inventory" in finding.problem.place
    assert "sesame" not in f"{finding!r}"
    assert finding.text.startswith('inventory = "')


# --- Repairs ----------------------------------------------------------------------------------------------------------

KEYS = st.sampled_from(
    ["source", "applications", "policies", "groups", "root_certificates", "ip_lists", "audit", "name", "include", "x"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["", "a", "money.example.com"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=25,
)


@settings(max_examples=300, deadline=None)
@given(VALUES)
def test_whatever_a_document_holds_it_is_checked_to_the_end(folder_of: Path, document: object) -> None:
    """The form of a document is what people get wrong, in ways that nobody foresees."""
    file = folder_of / "access.json"
    file.write_text(json.dumps(document))
    findings = check(file, NOW)
    assert all(each.problem.message for each in findings)
    repaired = repair(document)
    assert repaired is None or findings


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("documents")
