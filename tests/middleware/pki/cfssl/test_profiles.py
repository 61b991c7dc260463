"""pki.cfssl.profiles: every field of ca-config.json is obeyed, or refused by name."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from keyfob.errors import PKIError
from keyfob.pki.cfssl.hosts import Hosts
from keyfob.pki.cfssl.profiles import PROFILE_KEYS, REFUSED, Config, Profile, read_config
from keyfob.pki.cfssl.subjects import Subject

BASIC = {"usages": ["client auth"], "expiry": "1h"}


def configure(**profile: Any) -> Config:
    document = {"signing": {"default": {"expiry": "8760h"}, "profiles": {"p": {**BASIC, **profile}}}}
    return read_config(json.dumps(document).encode(), "x.json", pytest.fail)


def profile(**more: Any) -> Profile:
    return configure(**more).select("p", pytest.fail)


def test_every_field_that_is_obeyed_reaches_the_profile() -> None:
    """One value of each, none of which is the default."""
    found = profile(
        usages=["signing", "server auth"],
        issuer_urls=["http://a/"],
        ocsp_url="http://b/",
        crl_url="ldap://c/",
        ca_constraint={"is_ca": True, "max_path_len": 2, "max_path_len_zero": False},
        ocsp_no_check=True,
        expiry="2h",
        backdate="3h",
        copy_extensions=True,
        not_before="2020-01-01T00:00:00Z",
        not_after="2030-01-01T00:00:00Z",
        name_whitelist="^a",
        allowed_extensions=["1.2.3"],
        policies=[{"ID": "1.2.4"}],
    )
    default = Profile(found.usages, timedelta(hours=2))
    assert {name for name in Profile._fields if getattr(found, name) == getattr(default, name)} == {
        *("usages", "expiry", "refusals"),
    }
    assert (found.not_before, found.not_after) == (datetime(2020, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC))
    assert (found.path_length, found.is_authority, found.backdate) == (2, True, timedelta(hours=3))


# What each field that is refused is written with, so that it says something.
REFUSED_VALUES: dict[str, Any] = {
    "auth_key": "k",
    "prev_auth_key": "k",
    "remote": "r",
    "auth_remote": {"remote": "r", "auth_key": "k"},
    "ct_log_servers": ["http://log.example/"],
    "cert_store": "x",
    "lint_error_level": 3,
    "ignored_lints": ["x"],
    "ignored_lint_sources": ["x"],
    "CSRWhitelist": {"Subject": True},
    "ClientProvidesSerialNumbers": True,
}


@pytest.mark.parametrize("key", REFUSED)
def test_a_field_that_cannot_be_obeyed_is_refused_where_it_would_count(key: str) -> None:
    """In the profile that is used, that is; beside it, it does no harm."""
    config = configure(**{key: REFUSED_VALUES[key]})
    with pytest.raises(PKIError) as caught:
        config.select("p", pytest.fail)
    assert caught.value.message == f"x.json: signing.profiles.p.{key}: cannot be obeyed here"
    assert caught.value.hint == REFUSED[key]
    document = {"signing": {"profiles": {"p": {**BASIC, key: REFUSED_VALUES[key]}, "q": BASIC}}}
    other = read_config(json.dumps(document).encode(), "x.json", pytest.fail)
    assert other.select("q", pytest.fail).usages


@pytest.mark.parametrize("value", [None, "", 0, False, [], {}])
def test_a_field_that_says_nothing_is_not_refused(value: object) -> None:
    """`"lint_error_level": 0` is what Go writes for a field that nobody has set."""
    assert profile(lint_error_level=value).refusals == ()


@pytest.mark.parametrize("key", [key for key in PROFILE_KEYS if key not in REFUSED])
@pytest.mark.parametrize("value", [7, "seven", [7], {"seven": 7}, True], ids=str)
def test_a_value_of_the_wrong_kind_is_refused_by_name(key: str, value: object) -> None:
    """Whatever it is, the message has the place of it."""
    if (key, value) in (("ocsp_no_check", True), ("copy_extensions", True), ("name_whitelist", "seven")):
        assert profile(**{key: value})
        return
    with pytest.raises(PKIError) as caught:
        profile(**{key: value})
    assert caught.value.message.startswith(f"x.json: signing.profiles.p.{key}")
    assert caught.value.hint


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"signings": {}}, "x.json: signings: nothing is known of this key"),
        ({"signing": {"profile": {}}}, "x.json: signing.profile: nothing is known of this key"),
        ({"signing": {"default": {"usage": []}}}, "x.json: signing.default.usage: nothing is known of this key"),
        ({"signing": {"profiles": {"p": {}}}}, "x.json: signing.profiles.p.expiry: is missing"),
        (
            {"signing": {"profiles": {"p": {**BASIC, "ca_constraint": {"isca": True}}}}},
            "x.json: signing.profiles.p.ca_constraint.isca: nothing is known of this key",
        ),
        (
            {"signing": {"profiles": {"p": {**BASIC, "ca_constraint": {"max_path_len_zero": True}}}}},
            "x.json: signing.profiles.p.ca_constraint: a path length says nothing without is_ca",
        ),
        (
            {"signing": {"profiles": {"p": {**BASIC, "ca_constraint": {"is_ca": True, "max_path_len": -2}}}}},
            "x.json: signing.profiles.p.ca_constraint.max_path_len: -2 is no path length",
        ),
    ],
)
def test_what_is_wrong_anywhere_is_refused_at_once(document: object, message: str) -> None:
    """Also in a profile that nobody uses now: tomorrow somebody may."""
    with pytest.raises(PKIError) as caught:
        read_config(json.dumps(document).encode(), "x.json", pytest.fail)
    assert caught.value.message == message


def test_an_unknown_profile_is_not_the_default_one() -> None:
    """cfssl takes the default one for a name that is not there."""
    with pytest.raises(PKIError, match=r"x\.json has no profile 'P'") as caught:
        configure().select("P", pytest.fail)
    assert caught.value.hint == "did you mean 'p'?"


def test_a_word_that_is_passed_over_is_said_once() -> None:
    """Where it is used, and by the profile that has it."""
    said: list[str] = []
    assert configure(usages=["digital signing", "signing", "digital signing"]).select("p", said.append).usages
    assert said == ["x.json: signing.profiles.p.usages: 'digital signing' is no usage, and passed over, as by cfssl"]


def test_a_contradictory_path_length_is_said_aloud() -> None:
    """The number counts, as with cfssl."""
    said: list[str] = []
    constraint = {"is_ca": True, "max_path_len": 2, "max_path_len_zero": True}
    document = {"signing": {"profiles": {"p": {**BASIC, "ca_constraint": constraint}}}}
    found = read_config(json.dumps(document).encode(), "x.json", said.append)
    assert found.profiles["p"].path_length == 2
    assert said == [
        "x.json: signing.profiles.p.ca_constraint.max_path_len_zero: is passed over beside a max_path_len of 2"
    ]


@pytest.mark.parametrize(
    "pattern",
    [
        *(
            r"(?=a)",
            r"(?!a)",
            r"(?<=a)",
            r"(a)\1",
            r"a++",
            r"a*+",
            r"(?P=x)",
            r"\Z",
            "[[:alpha:]]",
            "(",
            r"\pL",
            "[",
            "*",
        ),
        *(r"(?>a)", r"(?(1)a)", "a{1,99999999999}"),
    ],
)
def test_an_expression_that_re2_reads_otherwise_is_refused(pattern: str) -> None:
    """It was written for cfssl, and has to mean the same."""
    with pytest.raises(PKIError, match=r"p\.name_whitelist: "):
        profile(name_whitelist=pattern)


@pytest.mark.parametrize(
    ("pattern", "name", "allowed"),
    [
        (r"^[a-z]+\.example$", "a.example", True),
        (r"^[a-z]+\.example$", "a.example.net", False),
        (r"example", "www.example.net", True),
        (r"(?i)^A$", "a", True),
        (r"^\d$", "٣", False),
        (r"^(?:a|b)(?P<x>c)$", "bc", True),
    ],
)
def test_names_are_looked_for_as_go_does(pattern: str, name: str, allowed: bool) -> None:
    """Anywhere in the name, unless the pattern has both ends; in each kind of name."""
    found = profile(name_whitelist=pattern)
    common_name = Subject({NameOID.COMMON_NAME: (name,)})
    for subject, hosts in (
        (common_name, Hosts()),
        (Subject({}), Hosts(dns=(name,))),
        (Subject({}), Hosts(emails=(name,))),
        (Subject({}), Hosts(uris=(name,))),
    ):
        if allowed:
            found.require_names(subject, hosts)
        else:
            with pytest.raises(PKIError, match=r"is not allowed by x\.json: signing\.profiles\.p\.name_whitelist"):
                found.require_names(subject, hosts)


def test_policies_are_read_with_their_qualifiers() -> None:
    """Both kinds, and none."""
    qualifiers = [{"Type": "id-qt-cps", "Value": "http://a/"}, {"Type": "id-qt-unotice", "Value": "é"}]
    found = profile(policies=[{"ID": "1.2.3", "Qualifiers": qualifiers}, {"id": "1.2.4"}]).policies
    assert found == (
        x509.PolicyInformation(x509.ObjectIdentifier("1.2.3"), ["http://a/", x509.UserNotice(None, "é")]),
        x509.PolicyInformation(x509.ObjectIdentifier("1.2.4"), None),
    )
