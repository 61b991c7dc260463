"""Selectors that look at what the verified certificate is, and what it is for."""

from collections.abc import Mapping
from typing import Annotated, Self

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import CertificatePoliciesOID, ExtendedKeyUsageOID
from pydantic import PlainValidator, model_validator

from keyfob.certificate import ClientCertificate
from keyfob.policy.rules import Test
from keyfob.policy.selectors.arguments import Argument, Nothing, parse_oid, read_text, read_word, unknown, wrong
from keyfob.policy.selectors.names import Names
from keyfob.policy.selectors.selector import Selector
from keyfob.policy.selectors.verified import ask_certificate, find_extension


def _certificate(_: Nothing, __: Names) -> Test:
    return ask_certificate(lambda certificate: True)


# RFC 5280 section 4.2.1.12 and the registries of IANA and Microsoft, in the words that OpenSSL prints.
_USAGES: Mapping[str, x509.ObjectIdentifier] = {
    "clientAuth": ExtendedKeyUsageOID.CLIENT_AUTH,
    "serverAuth": ExtendedKeyUsageOID.SERVER_AUTH,
    "codeSigning": ExtendedKeyUsageOID.CODE_SIGNING,
    "emailProtection": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "timeStamping": ExtendedKeyUsageOID.TIME_STAMPING,
    "OCSPSigning": ExtendedKeyUsageOID.OCSP_SIGNING,
    "ipsecIKE": ExtendedKeyUsageOID.IPSEC_IKE,
    "msSmartcardLogin": ExtendedKeyUsageOID.SMARTCARD_LOGON,
    "anyExtendedKeyUsage": ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
}


def _read_usage(value: object) -> x509.ObjectIdentifier:
    text = read_text(value)
    usage = _USAGES.get(text) or parse_oid(text)
    if usage is None:
        raise unknown("extended key usage, nor an OID in dotted digits", text, _USAGES)
    return usage


class ExtendedKeyUsage(Argument):
    """One extended key usage, by its name or its OID."""

    extended_key_usage: Annotated[x509.ObjectIdentifier, PlainValidator(_read_usage)]


def _extended_key_usage(argument: ExtendedKeyUsage, _: Names) -> Test:
    wanted = argument.extended_key_usage

    def ask(certificate: ClientCertificate) -> bool | None:
        usages = find_extension(certificate.parsed, x509.ExtendedKeyUsage)
        if usages is None or wanted not in usages:
            return False
        return True if all(_may_give(issuer, wanted) for issuer in certificate.issuers) else None

    return ask_certificate(ask)


def _may_give(issuer: x509.Certificate, usage: x509.ObjectIdentifier) -> bool:
    """Whether an authority's own certificate lets it hand this usage out: if it names some, they are all it has."""
    usages = find_extension(issuer, x509.ExtendedKeyUsage)
    return usages is None or usage in usages or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in usages


def _read_policy(value: object) -> x509.ObjectIdentifier:
    text = read_text(value)
    policy = parse_oid(text)
    if policy is None:
        raise wrong(f"{text!r} is no OID in dotted digits", 'write "1.3.6.1.4.1.99999.1"')
    return policy


class CertificatePolicy(Argument):
    """One certificate policy, by its OID."""

    certificate_policy: Annotated[x509.ObjectIdentifier, PlainValidator(_read_policy)]


def _certificate_policy(argument: CertificatePolicy, _: Names) -> Test:
    wanted = argument.certificate_policy

    def ask(certificate: ClientCertificate) -> bool | None:
        if wanted not in _find_policies(certificate.parsed):
            return False
        return True if _is_entitled(certificate.issuers, wanted) else None

    return ask_certificate(ask)


# RFC 5280 section 4.2.1.5.
_POLICY_MAPPINGS = x509.ObjectIdentifier("2.5.29.33")


def _is_entitled(issuers: tuple[x509.Certificate, ...], policy: x509.ObjectIdentifier) -> bool:
    """RFC 5280 section 6.1: a policy counts if every authority below the root has it, too.

    Where one of them gives its policies other names, or limits who may have any, this is not followed further.
    """
    for issuer in issuers[:-1]:
        policies = _find_policies(issuer)
        if policy not in policies and CertificatePoliciesOID.ANY_POLICY not in policies:
            return False
    return not any(
        extension.oid == _POLICY_MAPPINGS or isinstance(extension.value, x509.InhibitAnyPolicy | x509.PolicyConstraints)
        for issuer in issuers
        for extension in issuer.extensions
    )


def _find_policies(certificate: x509.Certificate) -> frozenset[x509.ObjectIdentifier]:
    policies = find_extension(certificate, x509.CertificatePolicies)
    return frozenset(each.policy_identifier for each in policies or ())


_KEYS: Mapping[str, type] = {
    "ec": ec.EllipticCurvePublicKey,
    "rsa": rsa.RSAPublicKey,
    "ed25519": ed25519.Ed25519PublicKey,
    "ed448": ed448.Ed448PublicKey,
}

# NIST's names, and those of SEC 2 and RFC 5639 that `cryptography` uses.
_CURVES: Mapping[str, str] = {
    "P-256": "secp256r1",
    "P-384": "secp384r1",
    "P-521": "secp521r1",
    **{name: name for name in ("secp256r1", "secp384r1", "secp521r1", "secp256k1")},
    **{name: name for name in ("brainpoolP256r1", "brainpoolP384r1", "brainpoolP512r1")},
}

# The most bits that a key can have: TLS stacks take no longer RSA keys, and P-521 is the largest curve.
_LARGEST: Mapping[type, int] = {rsa.RSAPublicKey: 16_384, ec.EllipticCurvePublicKey: 521}


def _read_size(value: object) -> int:
    if type(value) is not int or value < 1:
        raise wrong(f"{value!r} is no number of bits", "write smallest_size = 3072, without quotes")
    return value


class PublicKey(Argument):
    """A kind of key, the fewest bits that it may have, and its curve."""

    type: Annotated[type, PlainValidator(read_word("type of key", _KEYS))]
    smallest_size: Annotated[int | None, PlainValidator(_read_size)] = None
    curve: Annotated[str | None, PlainValidator(read_word("curve", _CURVES))] = None

    @model_validator(mode="after")
    def _can_hold(self) -> Self:
        largest = _LARGEST.get(self.type)
        if self.smallest_size is not None and largest is None:
            raise wrong("keys of this type have one size", "leave smallest_size out")
        if self.smallest_size is not None and largest is not None and self.smallest_size > largest:
            raise wrong(f"no key of this type has {self.smallest_size} bits", f"{largest} is the most")
        if self.curve is not None and self.type is not ec.EllipticCurvePublicKey:
            raise wrong("only keys of the type ec have a curve to choose", "leave curve out")
        if self.curve is not None and self.smallest_size is not None:
            raise wrong("the curve says the size already", "leave one of curve and smallest_size out")
        return self


def _public_key(argument: PublicKey, _: Names) -> Test:
    def ask(certificate: ClientCertificate) -> bool:
        key = certificate.parsed.public_key()
        if not isinstance(key, argument.type):
            return False
        if argument.curve is not None:
            return isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == argument.curve
        return argument.smallest_size is None or getattr(key, "key_size", 0) >= argument.smallest_size

    return ask_certificate(ask)


CERTIFICATE_SELECTORS = {
    "certificate": Selector(Nothing, _certificate, "{ certificate = {} }", needs_certificate=True),
    "extended_key_usage": Selector(
        ExtendedKeyUsage,
        _extended_key_usage,
        '{ extended_key_usage = { extended_key_usage = "emailProtection" } }',
        needs_certificate=True,
    ),
    "certificate_policy": Selector(
        CertificatePolicy,
        _certificate_policy,
        '{ certificate_policy = { certificate_policy = "1.3.6.1.4.1.99999.1" } }',
        needs_certificate=True,
    ),
    "public_key": Selector(
        PublicKey, _public_key, '{ public_key = { type = "rsa", smallest_size = 3072 } }', needs_certificate=True
    ),
}
