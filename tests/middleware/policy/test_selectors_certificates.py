"""policy.selectors: what a certificate is, who issued it, and which one it is."""

import base64
import subprocess
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import CertificatePoliciesOID, ExtendedKeyUsageOID

from certificates import CLIENT, SERVER, Extensions, Key, Pair, make_authority, make_leaf, make_name
from keyfob.certificate import ClientCertificate
from keyfob.policy import Identity
from keyfob.policy.selectors import DeviceList
from situations import NOBODY, ROOT, device, judge, refuse, show

LEAF = make_leaf(ROOT, "Rhea Group")
DEVICE = show(LEAF)


def run_openssl(folder: Path, *arguments: str) -> str:
    (folder / "leaf.pem").write_text(LEAF.pem, encoding="ascii")
    command = ["openssl", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def test_openssls_own_words_are_understood(tmp_path: Path) -> None:
    """What it prints behind the equals sign can be pasted into a rule."""
    words = ["-fingerprint", "-sha256", "-serial", "-issuer", "-nameopt", "RFC2253"]
    lines = run_openssl(tmp_path, "x509", "-in", "leaf.pem", "-noout", *words).splitlines()
    said = {name.strip(): value for name, _, value in (line.partition("=") for line in lines)}
    fingerprint = next(value for name, value in said.items() if "ingerprint" in name)
    assert ":" in fingerprint
    assert judge({"fingerprint": {"fingerprint": fingerprint}}, DEVICE) is True
    assert judge({"issuer": {"issuer": said["issuer"]}}, DEVICE) is True
    assert judge({"serial_number": {"serial_number": said["serial"], "issuer": said["issuer"]}}, DEVICE) is True


def pins_of(digest: bytes) -> list[str]:
    encoded = base64.b64encode(digest).decode("ascii")
    return [digest.hex(), digest.hex().upper(), digest.hex(":"), encoded, f"sha256/{encoded}", f"sha256//{encoded}"]


def digest_key(leaf: Pair) -> bytes:
    key = leaf.certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return sha256(key).digest()


@pytest.mark.parametrize("pin", pins_of(digest_key(LEAF)))
def test_a_key_is_pinned_in_any_usual_spelling(pin: str) -> None:
    """Hex like a fingerprint, or base64 as HTTP pins and curl have it; it stays when the certificate is renewed."""
    assert judge({"spki": {"spki": pin}}, DEVICE) is True
    assert judge({"spki": {"spki": pin}}, show(make_leaf(ROOT, "renewed", key=LEAF.key))) is True
    assert judge({"spki": {"spki": pin}}, device("Rhea Group")) is False


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP521R1()),
        ed25519.Ed25519PrivateKey.generate(),
        rsa.generate_private_key(public_exponent=65537, key_size=2048),
    ],
    ids=["ec", "ed25519", "rsa"],
)
def test_a_pin_is_of_the_key_as_the_certificate_has_it(key: Key) -> None:
    """For keys of every kind."""
    leaf = make_leaf(ROOT, key=key)
    assert judge({"spki": {"spki": digest_key(leaf).hex()}}, show(leaf)) is True


def test_a_pin_is_the_one_that_openssl_makes(tmp_path: Path) -> None:
    """For an RSA-PSS key, too, which `cryptography` would write out as a plain RSA key."""
    new = ["-newkey", "rsa-pss", "-pkeyopt", "rsa_keygen_bits:2048", "-nodes", "-keyout", "key.pem"]
    run_openssl(tmp_path, "req", "-x509", *new, "-subj", "/CN=pss", "-out", "pss.pem")
    run_openssl(tmp_path, "pkey", "-in", "key.pem", "-pubout", "-outform", "DER", "-out", "key.der")
    pin = sha256((tmp_path / "key.der").read_bytes()).hexdigest()
    certificate = x509.load_pem_x509_certificate((tmp_path / "pss.pem").read_bytes())
    assert judge({"spki": {"spki": pin}}, Identity(ClientCertificate(certificate, ()), None, ())) is True


BITS_TO_SPARE = base64.b64encode(bytes(32)).decode("ascii").replace("A=", "B=")


@pytest.mark.parametrize(
    "written",
    ["", "ab" * 31, "ab" * 33, "ab" * 20, "xy" * 32, ":".join(["abcd"] * 16), f"{'ab' * 32} ", f"0x{'ab' * 32}"],
)
def test_a_hash_is_written_whole(written: str) -> None:
    """Neither SHA-1 nor a part of it."""
    assert refuse({"fingerprint": {"fingerprint": written}})
    assert refuse({"spki": {"spki": written}})


@pytest.mark.parametrize(
    "written", [BITS_TO_SPARE, "sha1/" + "A" * 27 + "=", "sha256/sha256/" + "A" * 43 + "=", "A" * 43]
)
def test_a_pin_has_one_spelling_in_base64(written: str) -> None:
    """The bits that the last letter has to spare are zero, and nothing else goes before it."""
    assert refuse({"spki": {"spki": written}})


def test_a_fingerprint_is_one_certificates() -> None:
    """Not that of another with the same name and key."""
    fingerprint = sha256(LEAF.certificate.public_bytes(Encoding.DER)).hexdigest()
    for written in (fingerprint, fingerprint.upper()):
        assert judge({"fingerprint": {"fingerprint": written}}, DEVICE) is True
        again = show(make_leaf(ROOT, "Rhea Group", key=LEAF.key))
        assert judge({"fingerprint": {"fingerprint": written}}, again) is False


@pytest.mark.parametrize(
    ("names", "expected"), [(["Rhea Group"], True), (["Rhea"], False), ([], False), (["Rhea Group", "x"], None)]
)
def test_a_device_list_has_names_and_fingerprints(names: list[str], expected: bool | None) -> None:
    """A name counts as in a common_name rule; a fingerprint counts whatever the names."""
    rule = {"device_list": {"file": "devices.txt"}}
    identity = device(*names)
    assert identity.certificate is not None
    digest = bytes.fromhex(identity.certificate.fingerprint_sha256)
    assert judge(rule, identity, read_devices=lambda _: DeviceList({"Rhea Group"}, ())) is expected
    assert judge(rule, identity, read_devices=lambda _: DeviceList((), {digest})) is True
    assert judge(rule, NOBODY, read_devices=lambda _: DeviceList({"Rhea Group"}, {digest})) is False


ISSUER_NAME = x509.Name(
    [
        x509.NameAttribute(x509.NameOID.COUNTRY_NAME, "PT"),
        x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Rhea, Ltd"),
        x509.NameAttribute(x509.NameOID.COMMON_NAME, "Phones", x509.name._ASN1Type.PrintableString),
        x509.NameAttribute(x509.NameOID.EMAIL_ADDRESS, "ca@example.com"),
    ]
)
ISSUED = make_leaf(Pair(make_leaf(None, ISSUER_NAME).certificate, ROOT.key))


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (r"emailAddress=ca@example.com,CN=Phones,O=Rhea\, Ltd,C=PT", True),
        (r"1.2.840.113549.1.9.1=ca@example.com,CN=Phones,O=Rhea\2C Ltd,C=PT", True),
        (r"C=PT,O=Rhea\, Ltd,CN=Phones,emailAddress=ca@example.com", False),
        (r"emailAddress=ca@example.com,CN=phones,O=Rhea\, Ltd,C=PT", False),
        (r"emailAddress=ca@example.com,CN=Phones+O=Rhea\, Ltd,C=PT", False),
        (r"CN=Phones,O=Rhea\, Ltd,C=PT", False),
        (r"OU=x,emailAddress=ca@example.com,CN=Phones,O=Rhea\, Ltd,C=PT", False),
    ],
)
def test_an_issuer_is_compared_as_a_name(written: str, expected: bool) -> None:
    """In every part, its order and its letter case; not by the text that somebody made of it."""
    serial = f"{ISSUED.certificate.serial_number:X}"
    assert judge({"issuer": {"issuer": written}}, show(ISSUED)) is expected
    assert judge({"serial_number": {"serial_number": serial, "issuer": written}}, show(ISSUED)) is expected


def test_what_keyfob_calls_an_issuer_can_be_written_as_one() -> None:
    """The app's, the log's and the rule's text are the same."""
    certificate = show(ISSUED).certificate
    assert certificate is not None
    assert judge({"issuer": {"issuer": certificate.issuer}}, show(ISSUED)) is True


@pytest.mark.parametrize(
    "written",
    [
        "",
        "Phones",
        "CN = Phones",
        "CN=Phones, O=Rhea",
        "/C=PT/CN=Phones",
        "cn=Phones",
        "SN=7",
        "CN=#0c0161",
        "C=Portugal",
        "CN=a\\",
    ],
)
def test_a_name_is_written_as_rfc_4514_does(written: str) -> None:
    """What OpenSSL prints unasked, or cryptography reads in its own way, is refused with the right command."""
    said = refuse({"issuer": {"issuer": written}})
    assert not written or "-nameopt RFC2253" in said
    assert refuse({"serial_number": {"serial_number": "01", "issuer": written}})


def test_a_serial_number_is_one_of_its_issuer() -> None:
    """Leading zeros and colons say nothing; another issuer's is another one."""
    serial = LEAF.certificate.serial_number
    digits = f"{serial:040x}"
    colons = ":".join(digits[at : at + 2] for at in range(0, 40, 2))
    for written in (f"{serial:X}", f"{serial:x}", digits, f"00{digits}", colons):
        assert judge({"serial_number": {"serial_number": written, "issuer": "CN=Test CA"}}, DEVICE) is True
        assert judge({"serial_number": {"serial_number": written, "issuer": "CN=Other CA"}}, DEVICE) is False
    other = {"serial_number": f"{serial + 1:X}", "issuer": "CN=Test CA"}
    assert judge({"serial_number": other}, DEVICE) is False


@pytest.mark.parametrize("written", ["", "0x12", "-12", "serial=12", "1:2", "12 ", "١٢", "g", 12])
def test_a_serial_number_is_hex(written: object) -> None:
    """Without signs and prefixes."""
    assert refuse({"serial_number": {"serial_number": written, "issuer": "CN=Test CA"}})


@pytest.mark.parametrize("missing", ["serial_number", "issuer"])
def test_a_serial_number_without_its_issuer_says_nothing(missing: str) -> None:
    """Every CA may have given it out."""
    argument = {"serial_number": "01", "issuer": "CN=Test CA"}
    del argument[missing]
    assert "required" in refuse({"serial_number": argument})


def test_the_root_is_the_last_of_the_verified_path() -> None:
    """Not an intermediate, and not a root of the same name."""
    middle = make_authority("Middle CA", ROOT)
    namesake = make_authority()
    identity = show(make_leaf(middle), middle, ROOT)
    names = {
        "root": frozenset({sha256(ROOT.certificate.public_bytes(Encoding.DER)).digest()}),
        "middle": frozenset({sha256(middle.certificate.public_bytes(Encoding.DER)).digest()}),
        "namesake": frozenset({sha256(namesake.certificate.public_bytes(Encoding.DER)).digest()}),
    }
    held = [name for name in names if judge({"root_certificate": {"name": name}}, identity, root_certificates=names)]
    assert held == ["root"]


@pytest.mark.parametrize(
    ("usages", "written", "expected"),
    [
        ([CLIENT], "clientAuth", True),
        ([CLIENT], "1.3.6.1.5.5.7.3.2", True),
        ([CLIENT, SERVER], "serverAuth", True),
        ([CLIENT], "serverAuth", False),
        ([CLIENT], "1.3.6.1.5.5.7.3.20", False),
        (None, "clientAuth", False),
        ([CLIENT, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE], "codeSigning", False),
        ([CLIENT, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE], "anyExtendedKeyUsage", True),
    ],
)
def test_a_usage_is_named_by_the_certificate(
    usages: list[x509.ObjectIdentifier] | None, written: str, expected: bool
) -> None:
    """An absent extension and the one for any usage allow much, and name nothing."""
    assert judge({"extended_key_usage": {"extended_key_usage": written}}, device("x", usages=usages)) is expected


@pytest.mark.parametrize(
    ("allowed", "expected"),
    [
        ([CLIENT, SERVER], True),
        ([CLIENT, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE], True),
        (None, True),
        ([CLIENT], None),
    ],
)
def test_a_usage_is_the_issuers_to_give(allowed: list[x509.ObjectIdentifier] | None, expected: bool | None) -> None:
    """An authority that is limited to some usages cannot hand out others, so the leaf's word alone is nothing."""
    extensions: Extensions = [] if allowed is None else [(x509.ExtendedKeyUsage(allowed), False)]
    middle = make_authority("Middle CA", ROOT, extensions=extensions)
    identity = show(make_leaf(middle, usages=[CLIENT, SERVER]), middle, ROOT)
    assert judge({"extended_key_usage": {"extended_key_usage": "serverAuth"}}, identity) is expected


GOLD, SILVER = x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), x509.ObjectIdentifier("1.3.6.1.4.1.99999.2")
ANY = CertificatePoliciesOID.ANY_POLICY


def policies(*oids: x509.ObjectIdentifier) -> tuple[x509.ExtensionType, bool]:
    return x509.CertificatePolicies([x509.PolicyInformation(oid, None) for oid in oids]), False


MAPPINGS = (x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.33"), b"\x30\x00"), False)


@pytest.mark.parametrize(
    ("leaf", "middle", "expected"),
    [
        ([policies(GOLD)], [policies(GOLD)], True),
        ([policies(SILVER, GOLD)], [policies(ANY)], True),
        ([policies(GOLD)], [policies(SILVER)], None),
        ([policies(GOLD)], [], None),
        ([policies(GOLD)], [policies(GOLD), MAPPINGS], None),
        ([policies(GOLD)], [policies(ANY), (x509.InhibitAnyPolicy(0), False)], None),
        ([policies(GOLD)], [policies(ANY), (x509.PolicyConstraints(None, 0), False)], None),
        ([policies(SILVER)], [policies(GOLD)], False),
        ([policies(ANY)], [policies(ANY)], False),
        ([], [policies(GOLD)], False),
    ],
)
def test_a_policy_is_the_whole_paths(leaf: Extensions, middle: Extensions, expected: bool | None) -> None:
    """RFC 5280 section 6.1: whoever issued it must have been entitled to; what is not followed further is unknown."""
    authority = make_authority("Middle CA", ROOT, extensions=middle)
    identity = show(make_leaf(authority, extensions=leaf), authority, ROOT)
    rule = {"certificate_policy": {"certificate_policy": GOLD.dotted_string}}
    assert judge(rule, identity) is expected


@pytest.mark.parametrize(
    "written",
    ["gold", "1", "1.3.6.01", "3.1", "1.3.", " 1.3.6", "1.3.6.1.4.1.99999999999999999999999999999999999999999"],
)
def test_an_oid_is_dotted_digits(written: str) -> None:
    """Without leading zeros, or anything else that would name no policy."""
    assert refuse({"certificate_policy": {"certificate_policy": written}})
    assert refuse({"extended_key_usage": {"extended_key_usage": written}})


RSA, EC, EDWARDS = (
    device("x", key=rsa.generate_private_key(public_exponent=65537, key_size=2048)),
    device("x", key=ec.generate_private_key(ec.SECP384R1())),
    device("x", key=ed25519.Ed25519PrivateKey.generate()),
)


@pytest.mark.parametrize(
    ("written", "identity", "expected"),
    [
        ({"type": "rsa"}, RSA, True),
        ({"type": "rsa", "smallest_size": 2048}, RSA, True),
        ({"type": "rsa", "smallest_size": 2049}, RSA, False),
        ({"type": "rsa"}, EC, False),
        ({"type": "ec"}, EC, True),
        ({"type": "ec", "smallest_size": 384}, EC, True),
        ({"type": "ec", "smallest_size": 385}, EC, False),
        ({"type": "ec", "curve": "P-384"}, EC, True),
        ({"type": "ec", "curve": "secp384r1"}, EC, True),
        ({"type": "ec", "curve": "P-256"}, EC, False),
        ({"type": "ec", "smallest_size": 1}, RSA, False),
        ({"type": "ed25519"}, EDWARDS, True),
        ({"type": "ed25519"}, EC, False),
        ({"type": "ed448"}, EDWARDS, False),
    ],
)
def test_a_key_has_a_type_a_size_or_a_curve(written: dict[str, object], identity: Identity, expected: bool) -> None:
    """A size is the fewest bits; a curve is that one."""
    assert judge({"public_key": written}, identity) is expected


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"type": "dsa"}, "did you mean"),
        ({"type": "ec", "curve": "p-256"}, "did you mean 'P-256'?"),
        ({"type": "rsa", "curve": "P-256"}, "leave curve out"),
        ({"type": "ed25519", "smallest_size": 256}, "leave smallest_size out"),
        ({"type": "ec", "smallest_size": 2048}, "521 is the most"),
        ({"type": "ec", "smallest_size": 256, "curve": "P-256"}, "leave one of"),
        ({"type": "rsa", "smallest_size": "2048"}, "without quotes"),
        ({"type": "rsa", "smallest_size": True}, "without quotes"),
        ({"type": "rsa", "smallest_size": 2048.0}, "without quotes"),
        ({"type": "rsa", "smallest_size": 0}, "without quotes"),
        ({"smallest_size": 2048}, "required"),
    ],
)
def test_a_key_that_nobody_can_have_is_refused(written: dict[str, object], said: str) -> None:
    """With what is wrong about it."""
    assert said in refuse({"public_key": written})


def test_any_certificate_is_a_certificate() -> None:
    """Whatever its names."""
    assert judge({"certificate": {}}, show(make_leaf(ROOT, make_name()))) is True
    assert judge({"certificate": {}}, device("x", "y")) is True
    assert judge({"certificate": {}}, NOBODY) is False
