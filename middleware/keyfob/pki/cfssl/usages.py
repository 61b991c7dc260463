"""What a key may be used for, in cfssl's words."""

from collections.abc import Mapping
from typing import NamedTuple

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from keyfob.pki.cfssl.documents import Place, suggest

KEY_USAGES: Mapping[str, str] = {
    "signing": "digital_signature",
    "digital signature": "digital_signature",
    "content commitment": "content_commitment",
    # As it was spelt until 2017.
    "content committment": "content_commitment",
    "key encipherment": "key_encipherment",
    "key agreement": "key_agreement",
    "data encipherment": "data_encipherment",
    "cert sign": "key_cert_sign",
    "crl sign": "crl_sign",
    "encipher only": "encipher_only",
    "decipher only": "decipher_only",
}

EXTENDED_USAGES: Mapping[str, x509.ObjectIdentifier] = {
    "any": ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
    "server auth": ExtendedKeyUsageOID.SERVER_AUTH,
    "client auth": ExtendedKeyUsageOID.CLIENT_AUTH,
    "code signing": ExtendedKeyUsageOID.CODE_SIGNING,
    "email protection": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "s/mime": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "ipsec end system": x509.ObjectIdentifier("1.3.6.1.5.5.7.3.5"),
    "ipsec tunnel": x509.ObjectIdentifier("1.3.6.1.5.5.7.3.6"),
    "ipsec user": x509.ObjectIdentifier("1.3.6.1.5.5.7.3.7"),
    "timestamping": ExtendedKeyUsageOID.TIME_STAMPING,
    "ocsp signing": ExtendedKeyUsageOID.OCSP_SIGNING,
    "microsoft sgc": x509.ObjectIdentifier("1.3.6.1.4.1.311.10.3.3"),
    "netscape sgc": x509.ObjectIdentifier("2.16.840.1.113730.4.1"),
}

# A well-known walkthrough writes this beside "signing". cfssl passes it over, and so do we, aloud: every other unknown
# usage is refused, since a certificate without the extended usage that was meant is good for all of them.
PASSED_OVER = {"digital signing": "digital signature"}


class Usages(NamedTuple):
    """The usages of a profile: key usages by their names in `cryptography`, extended ones in their order."""

    key: frozenset[str] = frozenset()
    extended: tuple[x509.ObjectIdentifier, ...] = ()
    passed_over: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.key or self.extended)


def read_usages(words: tuple[str, ...], place: Place) -> Usages:
    """The usages that a list of words names. Raises PKIError for a word that names none."""
    key = {KEY_USAGES[word] for word in words if word in KEY_USAGES}
    # Once each, although two words may name the same.
    extended = tuple(dict.fromkeys(EXTENDED_USAGES[word] for word in words if word in EXTENDED_USAGES))
    for index, word in enumerate(words):
        if word not in KEY_USAGES and word not in EXTENDED_USAGES and word not in PASSED_OVER:
            known = (*KEY_USAGES, *EXTENDED_USAGES)
            place.at(index).fail(f"{word[:40]!r} is no usage", suggest(word[:40], known))
    for each in sorted({"encipher_only", "decipher_only"} & key):
        if "key_agreement" not in key:
            word = each.replace("_", " ")
            place.fail(f"{word!r} says something beside 'key agreement' alone", "add that, or take it out")
    return Usages(frozenset(key), extended, tuple(word for word in words if word in PASSED_OVER))
