"""NIST's Public Key Interoperability Test Suite (PKITS 1.0.1): what it asks, read from its signed messages.

Each of its tests is one S/MIME message, with the path and the revocation lists that the test is about. Independent of
`keyfob`.
"""

import email
from base64 import encodebytes
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import cryptography_vectors

FOLDER = Path(cryptography_vectors.__file__).parent / "x509" / "PKITS_data"
ANCHOR = (FOLDER / "certs" / "TrustAnchorRootCertificate.crt").read_bytes()

# Every test: the name of its end entity's certificate, by the section that it stands in. Its number is in its name.
SECTIONS = {
    "4.1": """ValidCertificatePathTest1 InvalidCASignatureTest2 InvalidEESignatureTest3 ValidDSASignaturesTest4
        ValidDSAParameterInheritanceTest5 InvalidDSASignatureTest6""",
    "4.2": """InvalidCAnotBeforeDateTest1 InvalidEEnotBeforeDateTest2 Validpre2000UTCnotBeforeDateTest3
        ValidGeneralizedTimenotBeforeDateTest4 InvalidCAnotAfterDateTest5 InvalidEEnotAfterDateTest6
        Invalidpre2000UTCEEnotAfterDateTest7 ValidGeneralizedTimenotAfterDateTest8""",
    "4.3": """InvalidNameChainingTest1 InvalidNameChainingOrderTest2 ValidNameChainingWhitespaceTest3
        ValidNameChainingWhitespaceTest4 ValidNameChainingCapitalizationTest5 ValidNameUIDsTest6
        ValidRFC3280MandatoryAttributeTypesTest7 ValidRFC3280OptionalAttributeTypesTest8
        ValidUTF8StringEncodedNamesTest9 ValidRolloverfromPrintableStringtoUTF8StringTest10
        ValidUTF8StringCaseInsensitiveMatchTest11""",
    "4.4": """InvalidMissingCRLTest1 InvalidRevokedCATest2 InvalidRevokedEETest3 InvalidBadCRLSignatureTest4
        InvalidBadCRLIssuerNameTest5 InvalidWrongCRLTest6 ValidTwoCRLsTest7 InvalidUnknownCRLEntryExtensionTest8
        InvalidUnknownCRLExtensionTest9 InvalidUnknownCRLExtensionTest10 InvalidOldCRLnextUpdateTest11
        Invalidpre2000CRLnextUpdateTest12 ValidGeneralizedTimeCRLnextUpdateTest13 ValidNegativeSerialNumberTest14
        InvalidNegativeSerialNumberTest15 ValidLongSerialNumberTest16 ValidLongSerialNumberTest17
        InvalidLongSerialNumberTest18 ValidSeparateCertificateandCRLKeysTest19
        InvalidSeparateCertificateandCRLKeysTest20 InvalidSeparateCertificateandCRLKeysTest21""",
    "4.5": """ValidBasicSelfIssuedOldWithNewTest1 InvalidBasicSelfIssuedOldWithNewTest2
        ValidBasicSelfIssuedNewWithOldTest3 ValidBasicSelfIssuedNewWithOldTest4 InvalidBasicSelfIssuedNewWithOldTest5
        ValidBasicSelfIssuedCRLSigningKeyTest6 InvalidBasicSelfIssuedCRLSigningKeyTest7
        InvalidBasicSelfIssuedCRLSigningKeyTest8""",
    "4.6": """InvalidMissingbasicConstraintsTest1 InvalidcAFalseTest2 InvalidcAFalseTest3
        ValidbasicConstraintsNotCriticalTest4 InvalidpathLenConstraintTest5 InvalidpathLenConstraintTest6
        ValidpathLenConstraintTest7 ValidpathLenConstraintTest8 InvalidpathLenConstraintTest9
        InvalidpathLenConstraintTest10 InvalidpathLenConstraintTest11 InvalidpathLenConstraintTest12
        ValidpathLenConstraintTest13 ValidpathLenConstraintTest14 ValidSelfIssuedpathLenConstraintTest15
        InvalidSelfIssuedpathLenConstraintTest16 ValidSelfIssuedpathLenConstraintTest17""",
    "4.7": """InvalidkeyUsageCriticalkeyCertSignFalseTest1 InvalidkeyUsageNotCriticalkeyCertSignFalseTest2
        ValidkeyUsageNotCriticalTest3 InvalidkeyUsageCriticalcRLSignFalseTest4
        InvalidkeyUsageNotCriticalcRLSignFalseTest5""",
    "4.8": """ValidCertificatePathTest1 AllCertificatesNoPoliciesTest2 DifferentPoliciesTest3 DifferentPoliciesTest4
        DifferentPoliciesTest5 OverlappingPoliciesTest6 DifferentPoliciesTest7 DifferentPoliciesTest8
        DifferentPoliciesTest9 AllCertificatesSamePoliciesTest10 AllCertificatesanyPolicyTest11
        DifferentPoliciesTest12 AllCertificatesSamePoliciesTest13 AnyPolicyTest14 UserNoticeQualifierTest15
        UserNoticeQualifierTest16 UserNoticeQualifierTest17 UserNoticeQualifierTest18 UserNoticeQualifierTest19
        CPSPointerQualifierTest20""",
    "4.9": """ValidrequireExplicitPolicyTest1 ValidrequireExplicitPolicyTest2 InvalidrequireExplicitPolicyTest3
        ValidrequireExplicitPolicyTest4 InvalidrequireExplicitPolicyTest5 ValidSelfIssuedrequireExplicitPolicyTest6
        InvalidSelfIssuedrequireExplicitPolicyTest7 InvalidSelfIssuedrequireExplicitPolicyTest8""",
    "4.10": """ValidPolicyMappingTest1 InvalidPolicyMappingTest2 ValidPolicyMappingTest3 InvalidPolicyMappingTest4
        ValidPolicyMappingTest5 ValidPolicyMappingTest6 InvalidMappingFromanyPolicyTest7
        InvalidMappingToanyPolicyTest8 ValidPolicyMappingTest9 InvalidPolicyMappingTest10 ValidPolicyMappingTest11
        ValidPolicyMappingTest12 ValidPolicyMappingTest13 ValidPolicyMappingTest14""",
    "4.11": """InvalidinhibitPolicyMappingTest1 ValidinhibitPolicyMappingTest2 InvalidinhibitPolicyMappingTest3
        ValidinhibitPolicyMappingTest4 InvalidinhibitPolicyMappingTest5 InvalidinhibitPolicyMappingTest6
        ValidSelfIssuedinhibitPolicyMappingTest7 InvalidSelfIssuedinhibitPolicyMappingTest8
        InvalidSelfIssuedinhibitPolicyMappingTest9 InvalidSelfIssuedinhibitPolicyMappingTest10
        InvalidSelfIssuedinhibitPolicyMappingTest11""",
    "4.12": """InvalidinhibitAnyPolicyTest1 ValidinhibitAnyPolicyTest2 inhibitAnyPolicyTest3
        InvalidinhibitAnyPolicyTest4 InvalidinhibitAnyPolicyTest5 InvalidinhibitAnyPolicyTest6
        ValidSelfIssuedinhibitAnyPolicyTest7 InvalidSelfIssuedinhibitAnyPolicyTest8
        ValidSelfIssuedinhibitAnyPolicyTest9 InvalidSelfIssuedinhibitAnyPolicyTest10""",
    "4.13": """ValidDNnameConstraintsTest1 InvalidDNnameConstraintsTest2 InvalidDNnameConstraintsTest3
        ValidDNnameConstraintsTest4 ValidDNnameConstraintsTest5 ValidDNnameConstraintsTest6
        InvalidDNnameConstraintsTest7 InvalidDNnameConstraintsTest8 InvalidDNnameConstraintsTest9
        InvalidDNnameConstraintsTest10 ValidDNnameConstraintsTest11 InvalidDNnameConstraintsTest12
        InvalidDNnameConstraintsTest13 ValidDNnameConstraintsTest14 InvalidDNnameConstraintsTest15
        InvalidDNnameConstraintsTest16 InvalidDNnameConstraintsTest17 ValidDNnameConstraintsTest18
        ValidDNnameConstraintsTest19 InvalidDNnameConstraintsTest20 ValidRFC822nameConstraintsTest21
        InvalidRFC822nameConstraintsTest22 ValidRFC822nameConstraintsTest23 InvalidRFC822nameConstraintsTest24
        ValidRFC822nameConstraintsTest25 InvalidRFC822nameConstraintsTest26 ValidDNandRFC822nameConstraintsTest27
        InvalidDNandRFC822nameConstraintsTest28 InvalidDNandRFC822nameConstraintsTest29 ValidDNSnameConstraintsTest30
        InvalidDNSnameConstraintsTest31 ValidDNSnameConstraintsTest32 InvalidDNSnameConstraintsTest33
        ValidURInameConstraintsTest34 InvalidURInameConstraintsTest35 ValidURInameConstraintsTest36
        InvalidURInameConstraintsTest37 InvalidDNSnameConstraintsTest38""",
    "4.14": """ValiddistributionPointTest1 InvaliddistributionPointTest2 InvaliddistributionPointTest3
        ValiddistributionPointTest4 ValiddistributionPointTest5 InvaliddistributionPointTest6
        ValiddistributionPointTest7 InvaliddistributionPointTest8 InvaliddistributionPointTest9
        ValidNoissuingDistributionPointTest10 InvalidonlyContainsUserCertsTest11 InvalidonlyContainsCACertsTest12
        ValidonlyContainsCACertsTest13 InvalidonlyContainsAttributeCertsTest14 InvalidonlySomeReasonsTest15
        InvalidonlySomeReasonsTest16 InvalidonlySomeReasonsTest17 ValidonlySomeReasonsTest18
        ValidonlySomeReasonsTest19 InvalidonlySomeReasonsTest20 InvalidonlySomeReasonsTest21
        ValidIDPwithindirectCRLTest22 InvalidIDPwithindirectCRLTest23 ValidIDPwithindirectCRLTest24
        ValidIDPwithindirectCRLTest25 InvalidIDPwithindirectCRLTest26 InvalidcRLIssuerTest27 ValidcRLIssuerTest28
        ValidcRLIssuerTest29 ValidcRLIssuerTest30 InvalidcRLIssuerTest31 InvalidcRLIssuerTest32 ValidcRLIssuerTest33
        InvalidcRLIssuerTest34 InvalidcRLIssuerTest35""",
    "4.15": """InvaliddeltaCRLIndicatorNoBaseTest1 ValiddeltaCRLTest2 InvaliddeltaCRLTest3 InvaliddeltaCRLTest4
        ValiddeltaCRLTest5 InvaliddeltaCRLTest6 ValiddeltaCRLTest7 ValiddeltaCRLTest8 InvaliddeltaCRLTest9
        InvaliddeltaCRLTest10""",
    "4.16": "ValidUnknownNotCriticalCertificateExtensionTest1 InvalidUnknownCriticalCertificateExtensionTest2",
}

# Those that PKITS calls invalid without saying so in their names; a policy constraint among their certificates, or the
# lack of any policy that all of them share, is the reason. The others without the word are valid with PKITS' defaults.
INVALID = {"4.8.4", "4.8.5", "4.8.7", "4.8.8", "4.8.9", "4.8.12"}


class Case(NamedTuple):
    """One test. Certificates and lists are DER; `authorities` are those between the device and the anchor."""

    number: str
    name: str
    is_valid: bool
    device: bytes
    authorities: tuple[bytes, ...]
    lists: tuple[bytes, ...]


# The messages whose names differ from those of their end entities by more than case.
RENAMED = {
    "4.1.1": "ValidSignaturesTest1",
    "4.3.1": "InvalidNameChainingEETest1",
    "4.3.6": "ValidNameChainingUIDsTest6",
    "4.4.1": "MissingCRLTest1",
    "4.8.1": "AllCertificatesSamePolicyTest1",
    "4.13.19": "ValidSelfIssuedDNnameConstraintsTest19",
    "4.13.20": "InvalidSelfIssuedDNnameConstraintsTest20",
    "4.14.11": "InvalidonlyContainsUserCertsCRLTest11",
    "4.14.12": "InvalidonlyContainsCACertsCRLTest12",
    "4.14.13": "ValidonlyContainsCACertsCRLTest13",
}


@cache
def read_cases() -> dict[str, Case]:
    """Every test of the table, by number. Raises LookupError where a message is not what the table says."""
    messages = {path.stem.removeprefix("Signed").lower(): path for path in find_messages()}
    cases = {}
    for section, names in SECTIONS.items():
        for name in names.split():
            number = f"{section}.{name.rpartition('Test')[-1]}"
            device = (FOLDER / "certs" / f"{name}EE.crt").read_bytes()
            certificates, lists = _read_message(messages.pop(RENAMED.get(number, name).lower()))
            if number == "4.14.18":  # Its message is that of the test after it.
                certificates, lists = (device, *_read("certs/onlySomeReasonsCA3Cert.crt")), _read(*_LISTS_18)
            if device not in certificates:
                raise LookupError(f"the message of {number} is not about {name}")
            above = tuple(each for each in certificates if each not in (device, ANCHOR))
            is_valid = not (name.startswith("Invalid") or number in INVALID)
            cases[number] = Case(number, name, is_valid, device, above, lists)
    if messages:
        raise LookupError(f"not in the table: {', '.join(messages)}")
    return cases


_LISTS_18 = (
    "crls/TrustAnchorRootCRL.crl",
    "crls/onlySomeReasonsCA3compromiseCRL.crl",
    "crls/onlySomeReasonsCA3otherreasonsCRL.crl",
)


def _read(*names: str) -> tuple[bytes, ...]:
    return tuple((FOLDER / name).read_bytes() for name in names)


def find_end_entities() -> set[str]:
    """The names of all end entities' certificates in the suite's folder."""
    return {path.stem.removesuffix("EE") for path in (FOLDER / "certs").glob("*EE.crt")}


def find_messages() -> list[Path]:
    return sorted((FOLDER / "smime").glob("*.eml"))


def find_authorities() -> list[bytes]:
    """Every other certificate of the suite but the anchor."""
    paths = sorted((FOLDER / "certs").glob("*.crt"))
    return [path.read_bytes() for path in paths if not path.stem.endswith("EE") and path.read_bytes() != ANCHOR]


def find_lists() -> list[Path]:
    return sorted((FOLDER / "crls").glob("*.crl"))


def make_pem(*certificates: bytes) -> str:
    head, foot = "-----BEGIN CERTIFICATE-----\n", "-----END CERTIFICATE-----\n"
    return "".join(head + encodebytes(each).decode("ascii") + foot for each in certificates)


def _read_message(path: Path) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """The certificates and the lists in a signature: RFC 5652 section 5.1, fields 0 and 1."""
    *_, signature = email.message_from_bytes(path.read_bytes()).walk()
    content = signature.get_payload(decode=True)
    if not isinstance(content, bytes):
        raise TypeError(f"{path} has no signature")
    (_, _, info), *_ = _split(content)
    _, (_, _, wrapped), *_ = _split(info)
    (_, _, signed), *_ = _split(wrapped)
    fields = {tag: inner for tag, _, inner in _split(signed)}
    return _list(fields.get(0xA0, b"")), _list(fields.get(0xA1, b""))


def _list(octets: bytes) -> tuple[bytes, ...]:
    return tuple(whole for _, whole, _ in _split(octets))


def _split(octets: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Each DER element: its tag, all of it, and its content."""
    at = 0
    while at < len(octets):
        size, begin = octets[at + 1], at + 2
        if size >= 0x80:
            begin += size & 0x7F
            size = int.from_bytes(octets[at + 2 : begin])
        yield octets[at], octets[at : begin + size], octets[begin : begin + size]
        at = begin + size
