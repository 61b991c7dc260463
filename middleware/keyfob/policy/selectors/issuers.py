"""Selectors that look at who issued the verified certificate."""

import re
from typing import Annotated

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID
from pydantic import PlainValidator

from keyfob.certificate import UNREADABLE, ClientCertificate
from keyfob.policy.rules import Test
from keyfob.policy.selectors.arguments import Argument, Name, read_text, wrong
from keyfob.policy.selectors.names import Names, look_up
from keyfob.policy.selectors.selector import Selector
from keyfob.policy.selectors.verified import ask_certificate

# What OpenSSL prints beside the short names of RFC 4514 itself. SN is left out: it is a surname to some, and a serial
# number to others.
_SHORT_NAMES = {
    "emailAddress": NameOID.EMAIL_ADDRESS,
    "serialNumber": NameOID.SERIAL_NUMBER,
    "GN": NameOID.GIVEN_NAME,
    "street": NameOID.STREET_ADDRESS,
    "title": NameOID.TITLE,
    "organizationIdentifier": NameOID.ORGANIZATION_IDENTIFIER,
}


def _read_name(value: object) -> x509.Name:
    text = read_text(value)
    try:
        # `cryptography` takes what stands behind a # for text, and RFC 4514 section 2.4 says that it is BER.
        name = None if re.search(r"=\s*#", text) else x509.Name.from_rfc4514_string(text, _SHORT_NAMES)
    except UNREADABLE:
        name = None
    if name is None:
        raise wrong(f"{text!r} is no distinguished name as RFC 4514 writes one", _NAMES)
    return name


_NAMES = 'write "CN=Phones CA,O=Rhea Group,C=PT", as openssl x509 -noout -issuer -nameopt RFC2253 prints it'

DistinguishedName = Annotated[x509.Name, PlainValidator(_read_name)]


class Issuer(Argument):
    """The distinguished name of the authority that signed the certificate itself."""

    issuer: DistinguishedName


def _issuer(argument: Issuer, _: Names) -> Test:
    wanted = argument.issuer
    # Compared as names, not as texts: the order of the parts counts, and every letter and its case, but neither the
    # order of the attributes within one part (`OU=a+CN=b`) nor the kind of string that the certificate has them in.
    return ask_certificate(lambda certificate: certificate.parsed.issuer == wanted)


_SERIAL = re.compile(r"[0-9A-Fa-f]{1,64}|[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){1,31}")


def _read_serial(value: object) -> int:
    text = read_text(value)
    if _SERIAL.fullmatch(text) is None:
        hint = 'write "0A1B2C", as openssl x509 -noout -serial prints it behind serial='
        raise wrong(f"{text!r} is no serial number in hex digits", hint)
    return int(text.replace(":", ""), 16)


class SerialNumber(Argument):
    """A serial number, and the issuer for which it is unique."""

    serial_number: Annotated[int, PlainValidator(_read_serial)]
    issuer: DistinguishedName


def _serial_number(argument: SerialNumber, _: Names) -> Test:
    serial, issuer = argument.serial_number, argument.issuer

    def ask(certificate: ClientCertificate) -> bool:
        return certificate.serial_number == serial and certificate.parsed.issuer == issuer

    return ask_certificate(ask)


class RootCertificate(Argument):
    """A root of the configuration, by its name."""

    name: Name


def _root_certificate(argument: RootCertificate, names: Names) -> Test:
    fingerprints = look_up("root certificate", argument.name, names.root_certificates)

    def ask(certificate: ClientCertificate) -> bool:
        return any(root.fingerprint(hashes.SHA256()) in fingerprints for root in certificate.issuers[-1:])

    return ask_certificate(ask)


ISSUER_SELECTORS = {
    "issuer": Selector(
        Issuer, _issuer, '{ issuer = { issuer = "CN=Phones CA,O=Rhea Group,C=PT" } }', needs_certificate=True
    ),
    "serial_number": Selector(
        SerialNumber,
        _serial_number,
        '{ serial_number = { serial_number = "0A1B2C", issuer = "CN=Phones CA,O=Rhea Group,C=PT" } }',
        needs_certificate=True,
    ),
    "root_certificate": Selector(
        RootCertificate, _root_certificate, '{ root_certificate = { name = "Money App Test" } }', needs_certificate=True
    ),
}
