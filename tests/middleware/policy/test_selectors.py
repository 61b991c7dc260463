"""policy.selectors: every row of the table, with what it takes and when it holds."""

import tomllib

import pytest
from pydantic import ValidationError

from certificates import make_authority, make_leaf, make_name
from exchanges import make_request, make_scope
from keyfob.certificate import ClientCertificate
from keyfob.errors import Missing
from keyfob.policy import SELECTORS, Identity

ROOT = make_authority()
REQUEST = make_request(make_scope(), 0)
NOBODY = Identity(None, Missing("-"), ())


def device(*common_names: str) -> Identity:
    leaf = make_leaf(ROOT, make_name(*common_names))
    return Identity(ClientCertificate(leaf.certificate, []), None, (leaf.pem,))


def holds(selector: str, argument: object, identity: Identity) -> bool:
    row = SELECTORS[selector]
    return row.compile(row.argument.model_validate(argument))(REQUEST, identity)


def test_this_file_tests_every_selector() -> None:
    """A new row needs its cases here."""
    assert set(SELECTORS) == {"everyone", "certificate", "common_name"}


def test_everyone_is_everyone() -> None:
    """Even those who show nothing."""
    assert holds("everyone", {}, NOBODY)
    assert holds("everyone", {}, device("x"))


def test_certificate_is_any_verified_certificate() -> None:
    """Whatever its names."""
    assert holds("certificate", {}, device("x"))
    assert holds("certificate", {}, device("x", "y"))
    assert not holds("certificate", {}, NOBODY)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["Rhea Group"], True),
        (["rhea group"], False),
        (["Rhea Group "], False),
        (["Rhea"], False),
        (["Rhea Group.evil.example"], False),
        (["x", "Rhea Group"], False),
        (["Rhea Group", "x"], False),
        ([], False),
    ],
)
def test_common_name_is_exact(names: list[str], expected: bool) -> None:
    """Whole, with its letter case, and the only one of the certificate."""
    assert holds("common_name", {"common_name": "Rhea Group"}, device(*names)) is expected
    assert not holds("common_name", {"common_name": "Rhea Group"}, NOBODY)


@pytest.mark.parametrize(
    ("selector", "argument"),
    [
        ("everyone", {"x": 1}),
        ("everyone", None),
        ("certificate", {"certificate": {}}),
        ("certificate", True),
        ("common_name", {}),
        ("common_name", {"common_name": ""}),
        ("common_name", {"common_name": 5}),
        ("common_name", {"common_name": None}),
        ("common_name", {"common_name": ["Rhea Group"]}),
        ("common_name", {"common_name": "Rhea Group", "also": "x"}),
        ("common_name", "Rhea Group"),
    ],
)
def test_an_argument_is_taken_exactly_or_not_at_all(selector: str, argument: object) -> None:
    """No type is guessed, no extra key ignored."""
    with pytest.raises(ValidationError):
        SELECTORS[selector].argument.model_validate(argument)


@pytest.mark.parametrize("name", SELECTORS)
def test_every_example_is_a_rule_that_can_be_written(name: str) -> None:
    """It is the hint for whoever wrote it wrongly."""
    [(selector, argument)] = tomllib.loads(f"rule = {SELECTORS[name].example}")["rule"].items()
    assert selector == name
    SELECTORS[name].argument.model_validate(argument)


def test_what_a_row_says_it_looks_at_is_true() -> None:
    """`needs_certificate` rows never hold without one: configuration errors rest on that."""
    arguments = {"everyone": {}, "certificate": {}, "common_name": {"common_name": "x"}}
    for name, row in SELECTORS.items():
        if row.needs_certificate:
            assert not holds(name, arguments[name], NOBODY)
