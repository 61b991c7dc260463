"""Selectors that look at the names in the verified certificate: the subject's and the alternative ones.

What a name's own certificate leaves unclear is None: a common name that is one of two, for programs differ in which
of them they take.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Self

from cryptography import x509
from cryptography.x509.oid import NameOID
from pydantic import PlainValidator, model_validator

from keyfob.addresses import Address, Network, parse_address
from keyfob.certificate import ClientCertificate
from keyfob.policy.rules import Test
from keyfob.policy.selectors.arguments import Argument, wrong
from keyfob.policy.selectors.names import Names
from keyfob.policy.selectors.requests import read_network
from keyfob.policy.selectors.selector import Selector
from keyfob.policy.selectors.texts import (
    Match,
    OptionalDNS,
    OptionalEmail,
    OptionalText,
    OptionalURI,
    PlainText,
    Text,
    compile_dns,
    compile_email,
    compile_text,
    match_any,
    match_only,
)
from keyfob.policy.selectors.verified import all_hold, ask_certificate, find_extension


class CommonName(Argument):
    """The subject's one common name."""

    common_name: PlainText


def _common_name(argument: CommonName, _: Names) -> Test:
    match = compile_text(argument.common_name)
    return ask_certificate(lambda certificate: match_only(match, certificate.common_names))


class Subject(Argument):
    """Attributes of the subject: all that are given have to hold."""

    common_name: OptionalText = None
    country: OptionalText = None
    email: OptionalEmail = None
    given_name: OptionalText = None
    locality: OptionalText = None
    organization: OptionalText = None
    organization_identifier: OptionalText = None
    organizational_unit: OptionalText = None
    postal_code: OptionalText = None
    pseudonym: OptionalText = None
    serial_number: OptionalText = None
    state: OptionalText = None
    street: OptionalText = None
    surname: OptionalText = None
    title: OptionalText = None
    user_id: OptionalText = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set:
            raise wrong("names no attribute", f"write {SUBJECT_SELECTORS['subject'].example}")
        return self


_ATTRIBUTES: Mapping[str, x509.ObjectIdentifier] = {
    "common_name": NameOID.COMMON_NAME,
    "country": NameOID.COUNTRY_NAME,
    "email": NameOID.EMAIL_ADDRESS,
    "given_name": NameOID.GIVEN_NAME,
    "locality": NameOID.LOCALITY_NAME,
    "organization": NameOID.ORGANIZATION_NAME,
    "organization_identifier": NameOID.ORGANIZATION_IDENTIFIER,
    "organizational_unit": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "postal_code": NameOID.POSTAL_CODE,
    "pseudonym": NameOID.PSEUDONYM,
    "serial_number": NameOID.SERIAL_NUMBER,
    "state": NameOID.STATE_OR_PROVINCE_NAME,
    "street": NameOID.STREET_ADDRESS,
    "surname": NameOID.SURNAME,
    "title": NameOID.TITLE,
    "user_id": NameOID.USER_ID,
}


def _subject(argument: Subject, _: Names) -> Test:
    asked = [_ask_attribute(name, getattr(argument, name)) for name in sorted(argument.model_fields_set)]
    return ask_certificate(lambda certificate: all_hold(ask(certificate.parsed.subject) for ask in asked))


def _ask_attribute(name: str, text: Text) -> Callable[[x509.Name], bool | None]:
    oid, match = _ATTRIBUTES[name], compile_email(text) if name == "email" else compile_text(text)
    # Directories write the path to a device as one unit below another, so each of several is meant.
    meets = match_any if name == "organizational_unit" else match_only
    return lambda subject: meets(match, _find_values(subject, oid))


def _find_values(subject: x509.Name, oid: x509.ObjectIdentifier) -> list[str]:
    return [value for each in subject.get_attributes_for_oid(oid) if isinstance(value := each.value, str)]


class AlternativeName(Argument):
    """Exactly one kind of subject alternative name."""

    dns: OptionalDNS = None
    email: OptionalEmail = None
    uri: OptionalURI = None
    ip: Annotated[Network | None, PlainValidator(read_network)] = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if len(self.model_fields_set) != 1:
            said = "names other than one of dns, email, uri and ip"
            raise wrong(said, f"write {SUBJECT_SELECTORS['san'].example}; for two of them, write two rules")
        return self


def _san(argument: AlternativeName, _: Names) -> Test:
    if argument.dns is not None:
        return _ask_names(x509.DNSName, compile_dns(argument.dns))
    if argument.email is not None:
        return _ask_names(x509.RFC822Name, compile_email(argument.email))
    if argument.uri is not None:
        return _ask_names(x509.UniformResourceIdentifier, compile_text(argument.uri))
    return _ask_names(x509.IPAddress, lambda found: _is_within(parse_address(found), argument.ip))


def _is_within(address: Address | None, network: Network | None) -> bool:
    return address is not None and network is not None and address in network


# The kinds of alternative names that are texts, or become one.
_Kind = type[x509.DNSName] | type[x509.RFC822Name] | type[x509.UniformResourceIdentifier] | type[x509.IPAddress]


def _ask_names(kind: _Kind, match: Match) -> Test:
    """Alternative names are many on purpose, and the issuer vouches for each: one that matches is enough."""

    def ask(certificate: ClientCertificate) -> bool | None:
        names = find_extension(certificate.parsed, x509.SubjectAlternativeName)
        return names is not None and match_any(match, map(str, names.get_values_for_type(kind)))

    return ask_certificate(ask)


SUBJECT_SELECTORS = {
    "common_name": Selector(
        CommonName, _common_name, '{ common_name = { common_name = "Rhea Group" } }', needs_certificate=True
    ),
    "subject": Selector(
        Subject,
        _subject,
        '{ subject = { organization = "Rhea Group", organizational_unit = "Finance" } }',
        needs_certificate=True,
    ),
    "san": Selector(
        AlternativeName, _san, '{ san = { dns = { ends_with = ".phones.example.com" } } }', needs_certificate=True
    ),
}
