"""`cfssl certinfo`: what a certificate or a CSR says, in cfssl's JSON."""

import base64
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID, SignatureAlgorithmOID

from keyfob.certificate import UNREADABLE
from keyfob.errors import PKIError
from keyfob.pki.cfssl.requests import find_extension

# Go's numbers and names of the ways to sign.
_SIGNATURES: Mapping[x509.ObjectIdentifier, tuple[int, str]] = {
    SignatureAlgorithmOID.RSA_WITH_SHA1: (3, "SHA1WithRSA"),
    SignatureAlgorithmOID.RSA_WITH_SHA256: (4, "SHA256WithRSA"),
    SignatureAlgorithmOID.RSA_WITH_SHA384: (5, "SHA384WithRSA"),
    SignatureAlgorithmOID.RSA_WITH_SHA512: (6, "SHA512WithRSA"),
    SignatureAlgorithmOID.DSA_WITH_SHA1: (7, "DSAWithSHA1"),
    SignatureAlgorithmOID.DSA_WITH_SHA256: (8, "DSAWithSHA256"),
    SignatureAlgorithmOID.ECDSA_WITH_SHA1: (9, "ECDSAWithSHA1"),
    SignatureAlgorithmOID.ECDSA_WITH_SHA256: (10, "ECDSAWithSHA256"),
    SignatureAlgorithmOID.ECDSA_WITH_SHA384: (11, "ECDSAWithSHA384"),
    SignatureAlgorithmOID.ECDSA_WITH_SHA512: (12, "ECDSAWithSHA512"),
    SignatureAlgorithmOID.ED25519: (16, "Ed25519"),
}
_UNKNOWN = (0, "Unknown Signature")

# The keys of a name, in cfssl's order.
_SHORT: Mapping[str, x509.ObjectIdentifier] = {
    "common_name": NameOID.COMMON_NAME,
    "serial_number": NameOID.SERIAL_NUMBER,
    "country": NameOID.COUNTRY_NAME,
    "organization": NameOID.ORGANIZATION_NAME,
    "organizational_unit": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "locality": NameOID.LOCALITY_NAME,
    "province": NameOID.STATE_OR_PROVINCE_NAME,
    "street_address": NameOID.STREET_ADDRESS,
    "postal_code": NameOID.POSTAL_CODE,
}
_LONG: Mapping[str, x509.ObjectIdentifier] = {
    "Country": NameOID.COUNTRY_NAME,
    "Organization": NameOID.ORGANIZATION_NAME,
    "OrganizationalUnit": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "Locality": NameOID.LOCALITY_NAME,
    "Province": NameOID.STATE_OR_PROVINCE_NAME,
    "StreetAddress": NameOID.STREET_ADDRESS,
    "PostalCode": NameOID.POSTAL_CODE,
}
_LAST = {NameOID.COMMON_NAME, NameOID.SERIAL_NUMBER}


def describe(pem: bytes, name: str) -> dict[str, Any]:
    """What the certificate in a PEM text says. Raises PKIError."""
    certificate = read_certificate(pem, name)
    try:
        return _describe(certificate)
    except UNREADABLE as error:
        raise PKIError(f"{name} cannot be read: {error}", "is it a certificate in PEM?") from error


def _describe(certificate: x509.Certificate) -> dict[str, Any]:
    names = list(find_extension(certificate.extensions, x509.SubjectAlternativeName) or ())
    hosts = [each.value for each in names if isinstance(each, x509.DNSName)]
    hosts += [str(each.value) for each in names if isinstance(each, x509.IPAddress)]
    issuer_key = find_extension(certificate.extensions, x509.AuthorityKeyIdentifier)
    own_key = find_extension(certificate.extensions, x509.SubjectKeyIdentifier)
    return {
        "subject": _describe_name(certificate.subject),
        "issuer": _describe_name(certificate.issuer),
        "serial_number": str(certificate.serial_number),
        **({"sans": hosts} if hosts else {}),
        "not_before": f"{certificate.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ}",
        "not_after": f"{certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}",
        "sigalg": _SIGNATURES.get(certificate.signature_algorithm_oid, _UNKNOWN)[1],
        "authority_key_id": _write_octets(issuer_key.key_identifier if issuer_key else None),
        "subject_key_id": _write_octets(own_key.digest if own_key else None),
        "pem": certificate.public_bytes(Encoding.PEM).decode("ascii"),
    }


def _describe_name(name: x509.Name) -> dict[str, Any]:
    found = {key: _values(name, oid)[-1:] if oid in _LAST else _values(name, oid) for key, oid in _SHORT.items()}
    texts = {key: ",".join(values) for key, values in found.items() if any(values)}
    values = [each.value for each in name if isinstance(each.value, str)]
    return {**texts, **({"names": values} if values else {})}


def _values(name: x509.Name, oid: x509.ObjectIdentifier) -> list[str]:
    return [str(each.value) for each in name.get_attributes_for_oid(oid)]


def _write_octets(octets: bytes | None) -> str:
    return (octets or b"").hex(":").upper()


def describe_csr(pem: bytes, name: str) -> dict[str, Any]:
    """What the CSR in a PEM text says, as Go writes its own structure. Raises PKIError."""
    try:
        return _describe_csr(x509.load_pem_x509_csr(pem))
    except UNREADABLE as error:
        raise PKIError(f"{name} cannot be read as a CSR: {error}", "is it a certificate request in PEM?") from error


def _describe_csr(csr: x509.CertificateSigningRequest) -> dict[str, Any]:
    names = list(find_extension(csr.extensions, x509.SubjectAlternativeName) or ())
    extensions = [(_split(each.oid), each.critical, _encode(each.value.public_bytes())) for each in csr.extensions]
    number, key = _describe_key(csr.public_key())
    spki = csr.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return {
        "Raw": _encode(csr.public_bytes(Encoding.DER)),
        "RawTBSCertificateRequest": _encode(csr.tbs_certrequest_bytes),
        "RawSubjectPublicKeyInfo": _encode(spki),
        "RawSubject": _encode(csr.subject.public_bytes()),
        "Version": 0,
        "Signature": _encode(csr.signature),
        "SignatureAlgorithm": _SIGNATURES.get(csr.signature_algorithm_oid, _UNKNOWN)[0],
        "PublicKeyAlgorithm": number,
        "PublicKey": key,
        "Subject": _describe_subject(csr.subject),
        "Attributes": _describe_attributes(extensions),
        "Extensions": [{"Id": oid, "Critical": critical, "Value": value} for oid, critical, value in extensions]
        or None,
        "ExtraExtensions": None,
        "DNSNames": [each.value for each in names if isinstance(each, x509.DNSName)] or None,
        "EmailAddresses": [each.value for each in names if isinstance(each, x509.RFC822Name)] or None,
        "IPAddresses": [str(each.value) for each in names if isinstance(each, x509.IPAddress)] or None,
        "URIs": [_describe_uri(each.value) for each in names if isinstance(each, x509.UniformResourceIdentifier)]
        or None,
    }


def _describe_key(key: object) -> tuple[int, Any]:
    match key:
        case rsa.RSAPublicKey():
            numbers = key.public_numbers()
            return 1, {"N": numbers.n, "E": numbers.e}
        case ec.EllipticCurvePublicKey():
            point = key.public_numbers()
            return 3, {"Curve": {}, "X": point.x, "Y": point.y}
        case ed25519.Ed25519PublicKey():
            return 4, _encode(key.public_bytes_raw())
        case _:
            return 0, None


def _describe_subject(name: x509.Name) -> dict[str, Any]:
    return {
        **{key: _values(name, oid) or None for key, oid in _LONG.items()},
        "SerialNumber": "".join(_values(name, NameOID.SERIAL_NUMBER)[-1:]),
        "CommonName": "".join(_values(name, NameOID.COMMON_NAME)[-1:]),
        "Names": [{"Type": _split(each.oid), "Value": each.value} for each in name if isinstance(each.value, str)]
        or None,
        "ExtraNames": None,
    }


def _describe_attributes(extensions: list[tuple[list[int], bool, str]]) -> Any:
    """The attribute that holds the extensions, which Go reads as pairs: of a critical one it does not see the value."""
    if not extensions:
        return None
    values = [{"Type": oid, "Value": None if critical else value} for oid, critical, value in extensions]
    return [{"Type": _split(_EXTENSION_REQUEST), "Value": [values]}]


_EXTENSION_REQUEST = x509.ObjectIdentifier("1.2.840.113549.1.9.14")


def _describe_uri(uri: str) -> dict[str, Any]:
    """A URI as Go takes it apart."""
    scheme, host, path, query, fragment = urlsplit(uri)
    rooted = bool(host) or path.startswith("/")
    return {
        "Scheme": scheme,
        "Opaque": "" if rooted else path,
        "User": {} if "@" in host else None,
        "Host": host.rpartition("@")[2],
        "Path": unquote(path) if rooted else "",
        "RawPath": path if rooted and quote(unquote(path), "/$&+,:;=@") != path else "",
        "OmitHost": rooted and not host,
        "ForceQuery": not query and uri.partition("#")[0].endswith("?"),
        "RawQuery": query,
        "Fragment": unquote(fragment),
        "RawFragment": fragment if quote(unquote(fragment), "!$&'()*+,/:;=?@") != fragment else "",
    }


def _split(oid: x509.ObjectIdentifier) -> list[int]:
    return [int(part) for part in oid.dotted_string.split(".")]


def _encode(octets: bytes) -> str:
    return base64.b64encode(octets).decode("ascii")


def read_certificate(pem: bytes, name: str) -> x509.Certificate:
    """The one certificate in a PEM text that errors call `name`. Raises PKIError."""
    try:
        found = x509.load_pem_x509_certificates(pem)
        if len(found) == 1:
            _ = found[0].extensions, found[0].subject, found[0].issuer
    except UNREADABLE as error:
        raise PKIError(f"{name} cannot be read as a certificate: {error}", "is it one in PEM?") from error
    if len(found) != 1:
        raise PKIError(f"{name} holds {len(found)} certificates", "give the one that is meant")
    return found[0]
