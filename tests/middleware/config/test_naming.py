"""config.naming: groups, lists and reusable policies, and the rules that refer to them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from certificates import make_authority, make_leaf
from exchanges import make_scope
from keyfob.config.naming import DEEPEST, compile_requirement
from keyfob.errors import ConfigError
from keyfob.policy import Allow, Names
from sites import assemble, find_problems, write_application, write_document, write_policy

ROOT = make_authority()
PHONE, LAPTOP, STRANGER = (make_leaf(ROOT, name) for name in ("Phone", "Laptop", "Stranger"))
# Within the day that every certificate made in this run has begun before, and ends after.
NOW = PHONE.certificate.not_valid_before_utc.timestamp() + 43_200


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "ca.pem").write_text(ROOT.pem)
    return tmp_path


def named(name: str) -> dict[str, Any]:
    return {"common_name": {"common_name": name}}


def member(group: str) -> dict[str, Any]:
    return {"group": {"id": group}}


def group(name: str, *include: Any, **changes: Any) -> dict[str, Any]:
    return {"name": name, "include": [*include]} | changes


def write(*rules: Any, groups: Sequence[Any] = (), **changes: Any) -> dict[str, Any]:
    """A document of one policy that includes these rules."""
    return write_document(write_application(write_policy(*rules)), groups=[*groups], **changes)


def find_admitted(folder: Path, document: dict[str, Any]) -> list[str]:
    """Which of the three devices get in."""
    gate = assemble(folder, document).gate
    devices = {"Phone": PHONE, "Laptop": LAPTOP, "Stranger": STRANGER}
    return [
        name
        for name, leaf in devices.items()
        if isinstance(gate.check(gate.source.receive(make_scope([leaf.pem]), NOW)), Allow)
    ]


# --- Groups -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reference", ["Ours", "0d6f6f4c"])
def test_a_group_is_known_by_its_name_and_by_its_id(folder: Path, reference: str) -> None:
    """Access's API writes the id, people write the name."""
    ours = group("Ours", named("Phone"), named("Laptop"), id="0d6f6f4c")
    assert find_admitted(folder, write(member(reference), groups=[ours])) == ["Phone", "Laptop"]


def test_a_group_has_include_require_and_exclude_of_its_own(folder: Path) -> None:
    """So that what stands in `require` side by side can be one or the other."""
    ours = group("Ours", {"certificate": {}}, require=[{"everyone": {}}], exclude=[named("Stranger")])
    assert find_admitted(folder, write(member("Ours"), groups=[ours])) == ["Phone", "Laptop"]
    either = write_policy(require=[member("Either")])
    document = write_document(write_application(either), groups=[group("Either", named("Phone"), named("Laptop"))])
    assert find_admitted(folder, document) == ["Phone", "Laptop"]


@pytest.mark.parametrize("order", [1, -1])
def test_groups_contain_groups_in_whichever_order_they_are_written(folder: Path, order: int) -> None:
    """And in any of the three lists."""
    groups = [
        group("All", {"certificate": {}}, exclude=[member("Strangers")]),
        group("Strangers", named("Stranger")),
        group("Ours", member("All"), require=[member("All")]),
    ][::order]
    assert find_admitted(folder, write(member("Ours"), groups=groups)) == ["Phone", "Laptop"]


CIRCLES = {
    "itself": ([group("A", member("A"))], "A > A", "groups[0].include[0]"),
    "two": ([group("A", member("B")), group("B", member("A"))], "A > B > A", "groups[1].include[0]"),
    "by exclude": (
        [group("A", {"everyone": {}}, exclude=[member("B")]), group("B", member("A"))],
        "A > B > A",
        "groups[1].include[0]",
    ),
    "further on": (
        [group("A", member("B")), group("B", member("C")), group("C", member("B"))],
        "B > C > B",
        "groups[2].include[0]",
    ),
    "behind ids": ([group("A", member("b"), id="a"), group("B", member("a"), id="b")], "A > B > A", "groups[1]"),
}


@pytest.mark.parametrize("case", CIRCLES)
def test_a_circle_of_groups_is_refused_with_its_names(folder: Path, case: str) -> None:
    """Whether a policy uses them or not."""
    groups, circle, place = CIRCLES[case]
    found = find_problems(folder, write({"certificate": {}}, groups=groups))
    assert any(circle in each.message and each.place.startswith(place) for each in found), found


@pytest.mark.parametrize("order", [1, -1])
def test_groups_are_nested_no_deeper_than_can_be_judged(folder: Path, order: int) -> None:
    """Each level takes room on the stack, and an app around it has used some already."""

    def chain(length: int) -> list[dict[str, Any]]:
        inner = [group(f"{number}", member(f"{number + 1}")) for number in range(length - 1)]
        return [*inner, group(f"{length - 1}", named("Phone"))][::order]

    assert find_admitted(folder, write(member("0"), groups=chain(DEEPEST))) == ["Phone"]
    for length in (DEEPEST + 1, 1000):
        found = find_problems(folder, write(member("0"), groups=chain(length)))
        assert all("nested more than" in each.message and each.hint for each in found), found


def test_an_unknown_group_is_refused_with_a_suggestion(folder: Path) -> None:
    """In a policy and in a group, each at its own place."""
    document = write(member("Oursy"), groups=[group("Ours", member("Our"))])
    found = {each.place: (each.message, each.hint) for each in find_problems(folder, document)}
    assert found == {
        "groups[0].include[0]": ("'Our' is no group", "did you mean 'Ours'?"),
        "applications[0].policies[0].include[0]": ("'Oursy' is no group", "did you mean 'Ours'?"),
    }


def test_what_refers_to_nothing_says_what_there_is(folder: Path) -> None:
    """Or that there is nothing."""
    [problem] = find_problems(folder, write(member("x")))
    assert problem.hint == "known: none"
    [problem] = find_problems(folder, write(member("x"), groups=[group("Finance phones", named("Phone"))]))
    assert problem.hint == "known: Finance phones"


# --- Reusable policies ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reference", ["Phones", "7a1c", {"id": "Phones"}, {"id": "7a1c"}])
def test_a_policy_is_used_again_by_its_name_or_its_id(folder: Path, reference: object) -> None:
    """As a text, or as Access's API gives it; beside others that are written out, in their order."""
    reusable = write_policy(named("Phone"), name="Phones", id="7a1c")
    application = write_application(write_policy(named("Laptop"), name="Laptops"), reference)
    assembly = assemble(folder, write_document(application, policies=[reusable]))
    assert [policy.name for policy in assembly.applications[0].written] == ["Laptops", "Phones"]
    assert find_admitted(folder, write_document(application, policies=[reusable])) == ["Phone", "Laptop"]


def test_a_reusable_policy_serves_several_applications(folder: Path) -> None:
    """It is read once."""
    applications = [write_application("Phones"), write_application("Phones", domain="money.example.com/admin")]
    document = write_document(*applications, policies=[write_policy(named("Phone"), name="Phones")])
    first, second = assemble(folder, document).applications
    assert first.policies == second.policies


def test_an_unknown_policy_is_refused_with_a_suggestion(folder: Path) -> None:
    """At the place of the reference."""
    document = write_document(write_application("Phons"), policies=[write_policy(name="Phones")])
    [problem] = find_problems(folder, document)
    assert problem.place == "applications[0].policies[0]"
    assert problem.message == "'Phons' is no reusable policy"
    assert problem.hint == "did you mean 'Phones'?"
    [problem] = find_problems(folder, write_document(write_application("Phones")))
    assert problem.hint == "define it under [[policies]]"


def test_what_is_wrong_in_a_reusable_policy_is_said_there(folder: Path) -> None:
    """Once, however many use it, and also if nobody does."""
    for applications in ([write_application("Phones", "Phones")], []):
        document = write_document(*applications, policies=[write_policy(member("x"), name="Phones")])
        assert [each.place for each in find_problems(folder, document)] == ["policies[0].include[0]"]


# --- Names ------------------------------------------------------------------------------------------------------------

TABLES: dict[str, Any] = {
    "groups": group("A", named("Phone")),
    "policies": write_policy(name="A"),
    "ip_lists": {"name": "A", "items": ["192.0.2.0/24"]},
    "email_lists": {"name": "A", "items": ["alice@example.com"]},
}


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("other", [{"name": "A"}, {"name": "B", "id": "A"}, {"name": "A", "id": "x"}])
def test_a_name_stands_for_one_thing(folder: Path, table: str, other: dict[str, str]) -> None:
    """Whether it is a name or an id: which of two is meant, nobody can tell."""
    entry = TABLES[table]
    [problem] = find_problems(folder, write_document(write_application(), **{table: [entry, entry | other]}))
    assert problem.place == f"{table}[1].name"
    assert "'A' is the name of another one" in problem.message


@pytest.mark.parametrize("table", TABLES)
def test_a_name_may_be_its_own_id(folder: Path, table: str) -> None:
    """Then it is one name."""
    assemble(folder, write_document(**{table: [TABLES[table] | {"id": "A"}]}))


def test_a_group_and_a_list_may_share_a_name(folder: Path) -> None:
    """A rule says which kind it means."""
    assemble(folder, write_document(**{table: [entry] for table, entry in TABLES.items()}))


@pytest.mark.parametrize(("selector", "kind"), [("ip_list", "IP list"), ("email_list", "email list")])
def test_an_unknown_list_is_refused(folder: Path, selector: str, kind: str) -> None:
    """With a suggestion from the lists of its own kind."""
    lists = {"ip_lists": [TABLES["ip_lists"]], "email_lists": [TABLES["email_lists"]]}
    [problem] = find_problems(folder, write({selector: {"id": "B"}}, **lists))
    assert problem.message == f"'B' is no {kind}"
    assert problem.place == "applications[0].policies[0].include[0]"


def test_a_root_certificate_is_known_by_its_name(folder: Path) -> None:
    """And is asked for by it."""
    rule = {"root_certificate": {"name": "r"}}
    assert find_admitted(folder, write(rule)) == ["Phone", "Laptop", "Stranger"]
    [problem] = find_problems(folder, write({"root_certificate": {"name": "x"}}))
    assert "'x' is no root certificate" in problem.message


def test_a_bypass_asks_nobody_who_they_are(folder: Path) -> None:
    """Also not by way of a group."""
    people = group("People", {"email": {"email": "alice@example.com"}})
    for rule in ({"email": {"email": "alice@example.com"}}, member("People")):
        policy = write_policy({"everyone": {}}, decision="bypass", exclude=[rule])
        [problem] = find_problems(folder, write_document(write_application(policy), groups=[people]))
        assert problem.place == "applications[0].policies[0]"
        assert "a bypass cannot ask who somebody is" in problem.message


@pytest.mark.parametrize(("written", "name"), [("gone.txt", "gone.txt"), (".", "")])
def test_a_list_of_devices_that_cannot_be_read_is_refused(folder: Path, written: str, name: str) -> None:
    """At the rule that names it."""
    [problem] = find_problems(folder, write({"device_list": {"file": written}}))
    assert problem.place == "applications[0].policies[0].include[0]"
    assert f"{folder / name}" in problem.message


# --- Rules outside a configuration ------------------------------------------------------------------------------------


def test_a_requirement_is_checked_at_once_and_compiled_with_the_names_of_a_gate(folder: Path) -> None:
    """As rules of a policy are."""
    with pytest.raises(ConfigError, match="did you mean 'certificate'"):
        compile_requirement({"include": [{"certficate": {}}]})
    compile_with = compile_requirement({"include": [member("Ours")]})
    with pytest.raises(ConfigError, match="'Ours' is no group"):
        compile_with(Names())
    gate = assemble(folder, write({"certificate": {}}, groups=[group("Ours", named("Phone"))])).gate
    [rule] = compile_with(gate.names).include
    assert rule.needs_certificate
