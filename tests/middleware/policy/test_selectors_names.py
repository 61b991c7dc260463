"""policy.selectors: the names in a certificate and of a person, compared exactly, or by a beginning or an end."""

import re
from ipaddress import ip_address
from typing import Any

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from certificates import make_leaf, make_name
from keyfob.policy import Identity
from keyfob.policy.selectors.texts import (
    Comparison,
    Text,
    compile_addresses,
    compile_dns,
    compile_email,
    compile_text,
    lower_ascii,
)
from situations import ROOT, device, judge, person, refuse, show

TEXTS = st.text("aAbB.@-* é\u212a", max_size=6)


def with_names(*names: x509.GeneralName) -> Identity:
    return show(make_leaf(ROOT, extensions=[(x509.SubjectAlternativeName(names), False)]))


def email_name(address: str) -> x509.RFC822Name:
    """Whatever a certificate may hold in its place."""
    return x509.RFC822Name._init_without_validation(address)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["Rhea Group"], True),
        (["rhea group"], False),
        (["Rhea Group "], False),
        (["Rhea"], False),
        (["Rhea Group.evil.example"], False),
        (["x", "Rhea Group"], None),
        (["Rhea Group", "x"], None),
        (["Rhea Group", "Rhea Group"], None),
        (["x", "y"], False),
        ([], False),
    ],
)
def test_common_name_is_exact(names: list[str], expected: bool | None) -> None:
    """Whole, with its letter case; where it is one of several, nobody can tell, and no rule lets in or spares by it."""
    assert judge({"common_name": {"common_name": "Rhea Group"}}, device(*names)) is expected


@pytest.mark.parametrize(
    ("written", "yes", "no"),
    [
        ({"starts_with": "kiosk-"}, "kiosk-7", "my kiosk-7"),
        ({"ends_with": " Group"}, "Rhea Group", "Rhea Groups"),
        ({"equals": "Rhea*"}, "Rhea*", "Rhea Group"),
        ({"starts_with": "Rhea*"}, "Rhea* Group", "Rhea Group"),
        ({"starts_with": "^.*"}, "^.*x", "anything"),
    ],
)
def test_a_beginning_and_an_end_are_written_as_such(written: dict[str, str], yes: str, no: str) -> None:
    """And there, nothing is a pattern."""
    assert judge({"common_name": {"common_name": written}}, device(yes)) is True
    assert judge({"common_name": {"common_name": written}}, device(no)) is False


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("", "is empty"),
        ("team-*", "starts_with"),
        ("*", "equals"),
        ("a\nb", "control character"),
        ("a\x00", "control character"),
        ("\ud800", "control character"),
        (["a"], "is not a text"),
        (None, "is not a text"),
        ({}, "one of { equals"),
        ({"starts_with": ""}, "is empty"),
        ({"ends_with": ""}, "is empty"),
        ({"start_with": "a"}, "did you mean 'starts_with'?"),
        ({"matches": ".*"}, "known: ends_with, equals, starts_with"),
        ({"starts_with": "a", "ends_with": "b"}, "write two rules"),
        ({"starts_with": ["a"]}, "is not a text"),
        ({"starts_with": {"equals": "a"}}, "is not a text"),
        ({1: "a"}, "known:"),
    ],
)
def test_what_says_nothing_or_looks_like_a_pattern_is_refused(written: object, said: str) -> None:
    """An empty beginning begins everything, and a star that somebody took for a wildcard matches nothing."""
    assert said in refuse({"common_name": {"common_name": written}})
    assert said in refuse({"subject": {"organization": written}})


@given(value=TEXTS.filter(bool), found=TEXTS)
def test_a_comparison_is_what_it_says(value: str, found: str) -> None:
    """Against regular expressions of which every letter is escaped."""
    escaped = re.escape(value)
    shapes = {Comparison.EQUALS: escaped, Comparison.STARTS_WITH: f"{escaped}.*", Comparison.ENDS_WITH: f".*{escaped}"}
    for comparison, shape in shapes.items():
        assert compile_text(Text(comparison, value))(found) is bool(re.fullmatch(shape, found, re.DOTALL))


@given(value=TEXTS.filter(bool), found=TEXTS)
def test_dns_names_differ_in_letter_case_alone(value: str, found: str) -> None:
    """RFC 4343: of ASCII, that is; no other letter becomes one of those."""
    for comparison in Comparison:
        lowered = compile_text(Text(comparison, lower_ascii(value)))(lower_ascii(found))
        # What is no name of the DNS, some programs read only in part.
        is_name = re.fullmatch(r"[A-Za-z0-9_*.-]+", found) is not None
        assert compile_dns(Text(comparison, value))(found) is (lowered if is_name or not lowered else None)


def test_only_the_letters_of_ascii_are_lowered() -> None:
    """Nothing else has become one of them."""
    assert [each for each in map(chr, range(0x3000)) if lower_ascii(each) != each] == list("ABCDEFGHIJKLMNOPQRSTUVWXYZ")


@given(wanted=TEXTS.filter(bool), found=TEXTS)
def test_many_addresses_are_compared_like_one(wanted: str, found: str) -> None:
    """A list is nothing but its entries."""
    one, many = compile_email(Text(Comparison.EQUALS, wanted)), compile_addresses([wanted, "x@example.org"])
    if found != "x@example.org":
        assert one(found) is many(found)


EMAILS = [
    ("me@example.com", True),
    ("me@EXAMPLE.com", True),
    ("Me@example.com", None),
    ("ME@EXAMPLE.COM", None),
    ("me@example.com.evil.net", False),
    ("me@example.com@evil.net", False),
    ("evil.net/me@example.com", False),
    ("mme@example.com", False),
    ("me@example.com ", False),
    ("me@example.co", False),
    ("me@banK.example.com", False),
    ("me@e\u212aample.com", False),
    ("", False),
]


@pytest.mark.parametrize(("address", "expected"), EMAILS)
def test_an_address_is_a_whole_address(address: str, expected: bool | None) -> None:
    """Its domain in any letter case. A local part in another may be another mailbox: nobody can tell."""
    assert judge({"email": {"email": "me@example.com"}}, person(address)) is expected
    lists = {"us": ("bob@example.com", "me@example.com")}
    assert judge({"email_list": {"id": "us"}}, person(address), email_lists=lists) is expected


@pytest.mark.parametrize(("address", "expected"), [each for each in EMAILS if each[0].isascii()])
def test_an_address_in_a_certificate_is_compared_like_a_persons(address: str, expected: bool | None) -> None:
    """As an alternative name and as an attribute of the subject."""
    assert judge({"san": {"email": "me@example.com"}}, with_names(email_name(address))) is expected
    if address:
        subject = make_name("x", email_address=address)
        assert judge({"subject": {"email": "me@example.com"}}, show(make_leaf(ROOT, subject))) is expected


def test_a_kelvin_sign_is_no_k() -> None:
    """str.lower would make one of it, and with it somebody else's domain."""
    assert judge({"email_domain": {"domain": "bank.example"}}, person("me@ban\u212a.example")) is False
    assert judge({"email": {"email": "me@bank.example"}}, person("me@ban\u212a.example")) is False
    assert judge({"email": {"email": "kim@bank.example"}}, person("\u212aim@bank.example")) is False


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("me@example.com", True),
        ("me@Example.COM", True),
        ('"b@c"@example.com', True),
        ("me@example.com@evil.net", False),
        ("me@sub.example.com", False),
        ("me@evilexample.com", False),
        ("me@example.com.evil.net", False),
        ("example.com", False),
        ("", False),
    ],
)
def test_a_domain_is_whole_and_behind_the_last_at(address: str, expected: bool) -> None:
    """Not its subdomains, and nothing that only ends or begins like it."""
    assert judge({"email_domain": {"domain": "EXAMPLE.com"}}, person(address)) is expected


@pytest.mark.parametrize(
    "written", ["@example.com", "*.example.com", "a@example.com", "example.com ", "exämple.com", ""]
)
def test_a_domain_is_written_as_one(written: str) -> None:
    """Without an at sign, stars, blanks and letters beyond ASCII."""
    assert refuse({"email_domain": {"domain": written}})


@pytest.mark.parametrize(
    "written", ["somebody", "@example.com", "me@", "a@b@c", "a b@c.example", "a@exämple.com", "a@*"]
)
def test_an_address_is_written_as_one(written: str) -> None:
    """A rule that could never hold would never shut anybody out."""
    assert refuse({"email": {"email": written}})
    assert refuse({"san": {"email": written}})
    assert refuse({"gsuite": {"email": written, "identity_provider_id": "x"}})


@pytest.mark.parametrize(
    ("written", "found", "expected"),
    [
        ({"ends_with": "@example.com"}, "me@Example.com", True),
        ({"ends_with": "@example.com"}, "me@sub.example.com", False),
        ({"ends_with": ".example.com"}, "me@sub.Example.com", True),
        ({"ends_with": ".example.com"}, "me@example.com", False),
        ({"ends_with": "-ops@example.com"}, "a-ops@example.com", True),
        ({"ends_with": "-ops@example.com"}, "a-OPS@example.com", None),
        ({"ends_with": "B-ops@example.com"}, '"a@B-ops@example.com', True),
        ({"starts_with": "ops-"}, "ops-a@example.com", True),
        ({"starts_with": "ops-"}, "Ops-a@example.com", None),
        ({"starts_with": "Me@"}, "Me@example.com", True),
        ({"starts_with": "Me@"}, "Mea@example.com", False),
    ],
)
def test_addresses_have_beginnings_and_ends(written: dict[str, str], found: str, expected: bool | None) -> None:
    """That end before the domain, or begin at one of its dots."""
    assert judge({"san": {"email": written}}, with_names(email_name(found))) is expected


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"email": {"ends_with": "example.com"}}, 'ends_with = "@example.com"'),
        ({"email": {"starts_with": "me@example.com"}}, "the whole address"),
        ({"dns": {"ends_with": "example.com"}}, 'ends_with = ".example.com"'),
        ({"dns": "https://example.com"}, "without scheme"),
        ({"dns": "exämple.com"}, "xn--"),
        ({"dns": "*.example.com"}, "ends_with"),
        ({"uri": "example.org"}, "its scheme"),
        ({"uri": {"starts_with": "spiffe://example.org"}}, 'starts_with = "spiffe://example.org/"'),
        ({"uri": {"starts_with": "https://example.org:443"}}, "slash behind the host"),
        ({"ip": "192.0.2.7/24"}, "bits beyond"),
        ({"ip": {"starts_with": "192."}}, "neither an address"),
        ({"dns": None}, "is not a text"),
        ({"dns": "a.example", "uri": "urn:x"}, "write two rules"),
        ({}, "one of dns, email, uri and ip"),
    ],
)
def test_an_end_or_a_beginning_that_others_share_is_refused(written: dict[str, Any], said: str) -> None:
    """`evilexample.com` ends like `example.com`, and `spiffe://example.org.evil.net/` begins like its namesake."""
    assert said in refuse({"san": written})


PHONE = with_names(
    x509.DNSName("Phone.Example.com"),
    x509.DNSName("*.wild.example.com"),
    x509.DNSName(""),
    x509.UniformResourceIdentifier("spiffe://example.org/phone"),
    x509.IPAddress(ip_address("192.0.2.7")),
    x509.IPAddress(ip_address("2001:db8::7")),
    x509.IPAddress(ip_address("::ffff:198.51.100.7")),
)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({"dns": "phone.example.COM"}, True),
        ({"dns": "example.com"}, False),
        ({"dns": "phone.example.com.evil.net"}, False),
        ({"dns": {"ends_with": ".EXAMPLE.com"}}, True),
        ({"dns": {"starts_with": "phone."}}, True),
        ({"dns": {"starts_with": "hone."}}, False),
        ({"dns": "a.wild.example.com"}, False),
        ({"dns": {"equals": "*.wild.example.com"}}, True),
        ({"email": "phone@example.com"}, False),
        ({"uri": "spiffe://example.org/phone"}, True),
        ({"uri": "spiffe://example.org/Phone"}, False),
        ({"uri": "spiffe://example.org/phone/x"}, False),
        ({"uri": {"starts_with": "spiffe://example.org/"}}, True),
        ({"uri": {"starts_with": "spiffe://example.orga/"}}, False),
        ({"uri": {"ends_with": "/phone"}}, True),
        ({"ip": "192.0.2.7"}, True),
        ({"ip": "192.0.2.0/24"}, True),
        ({"ip": "192.0.3.0/24"}, False),
        ({"ip": "2001:db8::/32"}, True),
        ({"ip": "198.51.100.0/24"}, True),
        ({"ip": "0.0.0.0/32"}, False),
    ],
)
def test_one_alternative_name_that_matches_is_enough(written: dict[str, Any], expected: bool) -> None:
    """They are many on purpose, each of its own kind."""
    assert judge({"san": written}, PHONE) is expected
    assert judge({"san": written}, device("Phone.Example.com")) is False


def subject(*attributes: tuple[str, str]) -> Identity:
    oids = {
        "o": x509.NameOID.ORGANIZATION_NAME,
        "ou": x509.NameOID.ORGANIZATIONAL_UNIT_NAME,
        "c": x509.NameOID.COUNTRY_NAME,
    }
    return show(make_leaf(ROOT, x509.Name([x509.NameAttribute(oids[name], value) for name, value in attributes])))


@pytest.mark.parametrize(
    ("written", "identity", "expected"),
    [
        ({"organization": "Rhea"}, subject(("o", "Rhea")), True),
        ({"organization": "Rhea"}, subject(("o", "rhea")), False),
        ({"organization": "Rhea"}, subject(("ou", "Rhea")), False),
        ({"organization": "Rhea"}, subject(("o", "Rhea"), ("o", "Other")), None),
        ({"organization": "Rhea"}, subject(("o", "Another"), ("o", "Other")), False),
        ({"organizational_unit": "Finance"}, subject(("ou", "Europe"), ("ou", "Finance")), True),
        ({"organizational_unit": "Sales"}, subject(("ou", "Europe"), ("ou", "Finance")), False),
        ({"organization": "Rhea", "country": "PT"}, subject(("o", "Rhea"), ("c", "PT")), True),
        ({"organization": "Rhea", "country": "PT"}, subject(("o", "Rhea"), ("c", "ES")), False),
        ({"organization": "Rhea", "country": "PT"}, subject(("o", "Rhea")), False),
        ({"organization": "Rhea", "country": "PT"}, subject(("o", "Rhea"), ("o", "x"), ("c", "PT")), None),
        ({"organization": "Rhea", "country": "PT"}, subject(("o", "Rhea"), ("o", "x"), ("c", "ES")), False),
        ({"organization": {"starts_with": "Rhea "}}, subject(("o", "Rhea Ltd")), True),
    ],
)
def test_all_attributes_that_are_given_have_to_hold(
    written: dict[str, Any], identity: Identity, expected: bool | None
) -> None:
    """One that comes twice is unclear, but a unit: directories write the path to a device as several."""
    assert judge({"subject": written}, identity) is expected


ATTRIBUTES = {
    "common_name": "x",
    "country": "PT",
    "email": "a@b.example",
    "given_name": "x",
    "locality": "x",
    "organization": "x",
    "organization_identifier": "x",
    "organizational_unit": "x",
    "postal_code": "x",
    "pseudonym": "x",
    "serial_number": "x",
    "state": "x",
    "street": "x",
    "surname": "x",
    "title": "x",
    "user_id": "x",
}
OIDS = {
    "country": "country_name",
    "email": "email_address",
    "locality": "locality_name",
    "organization": "organization_name",
    "organizational_unit": "organizational_unit_name",
    "state": "state_or_province_name",
    "street": "street_address",
}


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_each_attribute_of_a_subject_is_itself(attribute: str) -> None:
    """And no other one is."""
    identity = show(make_leaf(ROOT, make_name(**{OIDS.get(attribute, attribute): ATTRIBUTES[attribute]})))
    held = [name for name, value in ATTRIBUTES.items() if judge({"subject": {name: value}}, identity)]
    assert held == [attribute]
