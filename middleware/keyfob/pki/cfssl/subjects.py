"""Whom a certificate names, in the order and with the types of string that cfssl gives to it."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from cryptography import x509
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID

from keyfob.errors import PKIError
from keyfob.pki.cfssl.documents import Place, Table

# Each is one relative name of all its values, in this order; what else there is follows, each for itself.
ORDER = (
    NameOID.COUNTRY_NAME,
    NameOID.STATE_OR_PROVINCE_NAME,
    NameOID.LOCALITY_NAME,
    NameOID.STREET_ADDRESS,
    NameOID.POSTAL_CODE,
    NameOID.ORGANIZATION_NAME,
    NameOID.ORGANIZATIONAL_UNIT_NAME,
    NameOID.COMMON_NAME,
    NameOID.SERIAL_NUMBER,
)
SINGLE = {NameOID.COMMON_NAME: "common name", NameOID.SERIAL_NUMBER: "serial number"}

_KEYS: Mapping[str, x509.ObjectIdentifier] = {
    "C": NameOID.COUNTRY_NAME,
    "ST": NameOID.STATE_OR_PROVINCE_NAME,
    "L": NameOID.LOCALITY_NAME,
    "O": NameOID.ORGANIZATION_NAME,
    "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
}
NAME_KEYS = (*_KEYS, "E", "OID", "SerialNumber")
# X.680 section 41.4.
_PRINTABLE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 '()+,-./:=?")


class Subject(NamedTuple):
    """The values of each attribute of ORDER, and others behind them."""

    values: Mapping[x509.ObjectIdentifier, tuple[str, ...]]
    others: tuple[tuple[x509.ObjectIdentifier, str], ...] = ()

    @property
    def common_name(self) -> str:
        """Empty if there is none."""
        return "".join(self.values.get(NameOID.COMMON_NAME, ()))

    def fill(self, other: "Subject") -> "Subject":
        """This one, and what it lacks itself of the other's attributes that a JSON document has keys for."""
        lent = {oid: other.values[oid] for oid in (*_KEYS.values(), *SINGLE) if oid in other.values}
        return Subject({**lent, **self.values}, self.others)

    def rename(self, common_name: str) -> "Subject":
        """This one with another common name."""
        return self._replace(values={**self.values, NameOID.COMMON_NAME: (common_name,)})

    def as_name(self) -> x509.Name:
        """The name in X.509. Raises PKIError if it cannot be one."""
        sets = [[_make_attribute(oid, each) for each in self.values.get(oid, ())] for oid in ORDER]
        others = [[_make_attribute(oid, each)] for oid, each in self.others]
        try:
            return x509.Name([x509.RelativeDistinguishedName(each) for each in (*sets, *others) if each])
        except ValueError as error:
            raise PKIError("the subject has the same value twice in one place", "write it once") from error


def _make_attribute(oid: x509.ObjectIdentifier, value: str) -> "x509.NameAttribute[str]":
    # Go chooses by the characters, and `cryptography` by the attribute, unless it is told.
    kind = _ASN1Type.PrintableString if _PRINTABLE.issuperset(value) else _ASN1Type.UTF8String
    if not value.isprintable():
        raise PKIError(f"{value[:80]!a} has a character in it that cannot be seen", "leave it out of the subject")
    try:
        return x509.NameAttribute(oid, value, kind)
    except ValueError as error:
        name = getattr(oid, "_name", oid.dotted_string)
        hint = "countries have two letters, such as PT" if oid == NameOID.COUNTRY_NAME else "use 1 to 64 characters"
        raise PKIError(f"{value[:80]!r} cannot stand in a subject as {name}: {error}", hint) from error


def read_subject(common_name: str, serial_number: str, names: Iterable[Table]) -> Subject:
    """The subject of a JSON document: one of a CSR, or for a CSR. Raises PKIError."""
    values: dict[x509.ObjectIdentifier, tuple[str, ...]] = {}
    others: list[tuple[x509.ObjectIdentifier, str]] = []
    for name in names:
        for key, oid in _KEYS.items():
            if name.text(key):
                values[oid] = (*values.get(oid, ()), name.text(key))
        others += _read_others(name)
    values |= {NameOID.COMMON_NAME: (common_name,)} if common_name else {}
    values |= {NameOID.SERIAL_NUMBER: (serial_number,)} if serial_number else {}
    return Subject(values, tuple(others))


def _read_others(name: Table) -> Iterable[tuple[x509.ObjectIdentifier, str]]:
    if name.says("SerialNumber"):
        # cfssl reads it and does nothing with it.
        name.fail("SerialNumber", "says nothing here", 'write "serialnumber" beside "CN"')
    for dotted, value in name.named("OID"):
        place = name.place.at("OID").at(dotted)
        oid = read_oid(dotted, place)
        if oid in ORDER:
            place.fail("has a key of its own", "write C, ST, L, O, OU, CN or serialnumber, or leave it out")
        yield oid, str(value)
    if name.text("E"):
        yield NameOID.EMAIL_ADDRESS, name.text("E")


def read_oid(dotted: str, place: Place) -> x509.ObjectIdentifier:
    """An object identifier such as 1.3.6.1.4.1.311. Raises PKIError."""
    try:
        return x509.ObjectIdentifier(dotted)
    except ValueError as error:
        place.fail(f"{dotted[:40]!r} is no object identifier: {error}", 'write "1.3.6.1.4.1.311"')


def parse_subject(name: x509.Name, place: Place) -> Subject:
    """The subject that a request or a certificate has, its attributes put into cfssl's order. Raises PKIError."""
    values: dict[x509.ObjectIdentifier, tuple[str, ...]] = {}
    others: list[tuple[x509.ObjectIdentifier, str]] = []
    for each in name:
        value = each.value
        if isinstance(value, bytes):
            place.fail(f"the subject has octets under {each.oid.dotted_string}", "only texts can be taken over")
        if each.oid in SINGLE and each.oid in values:
            place.fail(f"the subject has more than one {SINGLE[each.oid]}", "which one is meant? Leave one")
        if each.oid in ORDER:
            values[each.oid] = (*values.get(each.oid, ()), value)
        else:
            others.append((each.oid, value))
    return Subject(values, tuple(others))
