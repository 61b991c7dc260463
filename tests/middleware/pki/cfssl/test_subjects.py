"""pki.cfssl.subjects: names in cfssl's order, with Go's types of string."""

import pytest
from cryptography import x509
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID

from keyfob.errors import PKIError
from keyfob.pki.cfssl.documents import Place, Table, read_document
from keyfob.pki.cfssl.subjects import NAME_KEYS, Subject, parse_subject, read_subject


def names(json: str) -> tuple[Table, ...]:
    return read_document(f'{{"names": {json}}}'.encode(), "x.json", ("names",)).tables("names", NAME_KEYS)


def read(json: str, common_name: str = "x") -> x509.Name:
    return read_subject(common_name, "", names(json)).as_name()


def test_attributes_stand_in_cfssls_order() -> None:
    """Each kind in one relative name, whatever the order in the file, and others behind."""
    found = read('[{"OU": "u", "O": "o", "E": "e@x"}, {"L": "l", "ST": "s", "C": "PT", "OID": {"1.2.3": "v"}}]')
    assert [each.rfc4514_string() for each in found.rdns] == [
        *("C=PT", "ST=s", "L=l", "O=o", "OU=u", "CN=x", "1.2.840.113549.1.9.1=e@x", "1.2.3=v"),
    ]


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("Money App (Test) '+,-./:=?", _ASN1Type.PrintableString),
        ("a@b", _ASN1Type.UTF8String),
        ("a*", _ASN1Type.UTF8String),
        ("a&b", _ASN1Type.UTF8String),
        ("é", _ASN1Type.UTF8String),
    ],
)
def test_strings_have_the_type_that_go_gives_them(value: str, kind: _ASN1Type) -> None:
    """Printable where it can be, UTF-8 elsewhere, for every attribute."""
    assert [each._type for each in read(f'[{{"E": "{value}"}}]', value)] == [kind, kind]


@pytest.mark.parametrize(
    ("json", "message"),
    [
        ('[{"SerialNumber": "1"}]', "names[0].SerialNumber: says nothing here"),
        ('[{"OID": {"2.5.4.3": "x"}}]', "names[0].OID.2.5.4.3: has a key of its own"),
        ('[{"OID": {"x": "x"}}]', "names[0].OID.x: 'x' is no object identifier"),
        ('[{"OID": {"1.2.3": 1}}]', "names[0].OID.1.2.3: is not a text"),
        ('[{"C": "PRT"}]', "'PRT' cannot stand in a subject"),
        ('[{"O": "a\\u0000b"}]', "has a character in it that cannot be seen"),
        ('[{"O": "a\\u202eb"}]', "has a character in it that cannot be seen"),
        ('[{"OU": "a"}, {"OU": "a"}]', "the same value twice"),
        ('[{"CN": "a"}]', "names[0].CN: nothing is known of this key"),
    ],
)
def test_what_cannot_be_obeyed_is_refused(json: str, message: str) -> None:
    """By name."""
    with pytest.raises(PKIError) as caught:
        read(json)
    assert message in caught.value.message
    assert caught.value.hint


def test_a_subject_of_a_request_keeps_what_it_says() -> None:
    """Put into order, with what is rare behind it."""
    attributes = [
        x509.NameAttribute(NameOID.TITLE, "Dr"),
        x509.NameAttribute(NameOID.COMMON_NAME, "x"),
        x509.NameAttribute(NameOID.COUNTRY_NAME, "PT"),
    ]
    found = parse_subject(x509.Name(attributes), Place("x.csr"))
    assert found.common_name == "x"
    assert found.as_name().rfc4514_string({NameOID.TITLE: "T"}) == "T=Dr,CN=x,C=PT"


@pytest.mark.parametrize("oid", [NameOID.COMMON_NAME, NameOID.SERIAL_NUMBER])
def test_of_two_names_none_is_chosen(oid: x509.ObjectIdentifier) -> None:
    """Go takes the last one; which one a person has looked at nobody knows."""
    twice = x509.Name([x509.NameAttribute(oid, "a"), x509.NameAttribute(oid, "b")])
    with pytest.raises(PKIError, match="more than one"):
        parse_subject(twice, Place("x.csr"))


def test_octets_in_a_subject_are_refused() -> None:
    """They are no text, and would become another one."""
    attribute = x509.NameAttribute(NameOID.X500_UNIQUE_IDENTIFIER, b"\x00", _ASN1Type.BitString)
    with pytest.raises(PKIError, match="octets"):
        parse_subject(x509.Name([attribute]), Place("x.csr"))


def test_a_subject_is_filled_with_what_it_lacks() -> None:
    """As `cfssl sign` does with its second file: not with street, postal code or others."""
    own = Subject({NameOID.ORGANIZATION_NAME: ("o",)}, ((NameOID.TITLE, "t"),))
    other = dict.fromkeys((NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME, NameOID.STREET_ADDRESS), ("z",))
    filled = own.fill(Subject(other, ((NameOID.SURNAME, "s"),)))
    assert filled.values == {NameOID.ORGANIZATION_NAME: ("o",), NameOID.COMMON_NAME: ("z",)}
    assert filled.others == own.others
