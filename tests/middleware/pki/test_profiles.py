"""pki.profiles: Apple profiles, held against the table of what Apple allows."""

import plistlib
import struct
import zlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, pkcs12

from apple import find_faults
from certificates import DAY, make_authority, make_leaf
from icon import ICON, draw_icon
from keyfob.errors import PKIError
from keyfob.pki.authority import Authority, Issued
from keyfob.pki.pkcs12 import export_identity, make_password
from keyfob.pki.profiles import (
    MEDIA_TYPE,
    Payload,
    identity_payload,
    make_identifier,
    make_profile,
    read_icon,
    require_icon,
    root_payload,
    scep_payload,
    sign_profile,
    web_clip,
)

AUTHORITY = Authority.create("Money App Test")
DEVICE = AUTHORITY.issue_device("My iPhone")
PASSWORD = make_password()
ICON_PNG = read_icon()
HERE = make_identifier(AUTHORITY.certificate, "My iPhone", "https://money.example.com/")


def make_identity(issued: Issued = DEVICE, name: str = "My iPhone", password: str | None = None) -> Payload:
    return identity_payload(export_identity(issued, name, PASSWORD), name, HERE, password)


def make_clip(**changed: Any) -> Payload:
    given = {"url": "https://money.example.com/", "label": "Budget", "icon": ICON_PNG, "identifier": HERE} | changed
    return web_clip(**given)


def make_scep(**changed: Any) -> Payload:
    given = {
        "url": "https://money.example.com:8444/scep",
        "name": "Money App Test",
        "common_name": "My iPhone",
        "challenge": "s3cret-challenge",
        "fingerprint": bytes(range(32)),
        "identifier": HERE,
    }
    return scep_payload(**(given | changed))


def make(*payloads: Payload, name: str = "Budget", organization: str = "Money App Test") -> bytes:
    return make_profile(name, organization, HERE, payloads)


def read(profile: bytes) -> Any:
    return plistlib.loads(profile, fmt=plistlib.FMT_XML)


ROOT = root_payload(AUTHORITY.certificate, HERE)
PAYLOADS: dict[str, tuple[Payload, ...]] = {
    "identity": (make_identity(),),
    "identity with its password": (make_identity(password=PASSWORD),),
    "root": (ROOT,),
    "icon": (make_clip(),),
    "icon without a picture": (make_clip(icon=None),),
    "icon in full screen": (make_clip(full_screen=True),),
    "scep": (make_scep(),),
    "what export makes": (ROOT, make_identity(), make_clip()),
    "what enrolment makes": (ROOT, make_scep(), make_clip()),
}
WHOLE = make(*PAYLOADS["what export makes"])


# --- Apple's table --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("payloads", PAYLOADS.values(), ids=PAYLOADS)
def test_every_profile_is_as_apple_describes_it(payloads: tuple[Payload, ...]) -> None:
    """No key is missing, unknown or of another type, in any payload."""
    assert find_faults(make(*payloads)) == []


def spoil(change: Callable[[Any], object]) -> list[str]:
    profile = read(WHOLE)
    change(profile)
    return find_faults(plistlib.dumps(profile))


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda top: top.update(Colour="green"), "profile: Colour is unknown"),
        (lambda top: top["PayloadContent"][2].update(Colour="x"), "com.apple.webClip.managed: Colour is unknown"),
        (lambda top: top.pop("PayloadUUID"), "profile: PayloadUUID is missing"),
        (lambda top: top["PayloadContent"][1].pop("PayloadContent"), "pkcs12: PayloadContent is missing"),
        (lambda top: top["PayloadContent"][2].update(FullScreen=1), "FullScreen is a int"),
        (lambda top: top.update(TargetDeviceType="1"), "TargetDeviceType is a str"),
        (lambda top: top.update(PayloadVersion=2), "PayloadVersion is 2"),
        (lambda top: top.update(PayloadUUID=top["PayloadContent"][0]["PayloadUUID"]), "PayloadUUID comes twice"),
        (lambda top: top["PayloadContent"][0].update(PayloadType="com.apple.x"), "com.apple.x: no payload"),
        (lambda top: top.update(PayloadIdentifier="no dots"), "PayloadIdentifier is malformed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_table_itself_finds_what_is_wrong(change: Callable[[Any], object], fault: str) -> None:
    """A judge that acquits everybody would prove nothing."""
    assert any(each.endswith(fault) for each in spoil(change)), spoil(change)


@pytest.mark.parametrize(
    "changed",
    [{"Keysize": 512}, {"Key Type": "EC"}, {"KeyUsage": 5}, {"Subject": ["CN", "x"]}, {"CAFingerprint": b"short"}],
    ids=str,
)
def test_the_table_looks_into_scep(changed: dict[str, Any]) -> None:
    """Its settings are a level deeper, with blanks in two of their names."""
    profile = read(make(make_scep()))
    profile["PayloadContent"][0]["PayloadContent"].update(changed)
    assert len(find_faults(plistlib.dumps(profile))) == 1


# --- What replaces what ---------------------------------------------------------------------------------------------


def test_a_renewed_key_comes_in_a_profile_of_the_same_identifiers() -> None:
    """A phone replaces the profile whose identifier it has, so that the old key goes when the new one comes."""
    before, after = (
        read(make(make_identity(), make_clip())),
        read(make(make_identity(AUTHORITY.issue_device("My iPhone")), make_clip())),
    )
    assert before != after
    for old, new in zip((before, *before["PayloadContent"]), (after, *after["PayloadContent"]), strict=True):
        for name in ("PayloadIdentifier", "PayloadUUID"):
            assert old[name] == new[name]


def test_devices_apps_and_authorities_have_profiles_of_their_own() -> None:
    """The key of one must not replace that of another, however their names are cut."""
    root, other = AUTHORITY.certificate, Authority.create("Money App Test").certificate
    asked = [(root, "ab", "c"), (root, "a", "bc"), (root, "ab", ""), (root, "b", "c"), (other, "ab", "c")]
    assert len({make_identifier(*each) for each in asked}) == len(asked)
    assert make_identifier(*asked[0]) == make_identifier(*asked[0])


@pytest.mark.parametrize("name", ['"Rhéa\'s" <&> 📱', "x" * 64, "手" * 64])
def test_any_device_s_name_gives_a_profile_with_that_name(name: str) -> None:
    """Identifiers are ASCII whatever the name is, and XML's own characters stay what they are."""
    identifier = make_identifier(AUTHORITY.certificate, name)
    payload = identity_payload(export_identity(DEVICE, name, PASSWORD), name, identifier)
    profile = make_profile(name, name, identifier, [payload])
    assert find_faults(profile) == []
    assert read(profile)["PayloadDisplayName"] == name
    assert read(profile)["PayloadContent"][0]["PayloadDisplayName"] == name


def test_the_same_profile_comes_out_twice() -> None:
    """Nothing in it is random or dated but what was put into it."""
    assert make(*PAYLOADS["what export makes"]) == WHOLE


# --- What is in it --------------------------------------------------------------------------------------------------


def test_a_profile_is_for_phones_and_says_whose_it_is() -> None:
    """TargetDeviceType 1: nobody is asked whether it is meant for the watch."""
    profile = read(WHOLE)
    assert profile["TargetDeviceType"] == 1
    assert profile["PayloadDisplayName"] == "Budget"
    assert profile["PayloadOrganization"] == "Money App Test"
    assert MEDIA_TYPE == "application/x-apple-aspen-config"


def test_the_identity_is_the_very_file_and_its_password_is_not_beside_it() -> None:
    """Apple allows one certificate in it; the phone asks for the password."""
    [payload] = read(make(make_identity()))["PayloadContent"]
    assert "Password" not in payload
    assert PASSWORD.encode() not in make(make_identity())
    opened = pkcs12.load_pkcs12(payload["PayloadContent"], PASSWORD.encode())
    assert opened.cert is not None
    assert opened.cert.certificate == DEVICE.certificate
    assert opened.additional_certs == []


def test_the_password_is_in_the_profile_only_where_that_was_asked_for() -> None:
    """For whoever hands the profile over by a way that nobody else can read."""
    assert read(make(make_identity(password=PASSWORD)))["PayloadContent"][0]["Password"] == PASSWORD


def test_the_root_is_in_der() -> None:
    """The octets of the certificate, under its own name."""
    [payload] = read(make(ROOT))["PayloadContent"]
    assert payload["PayloadContent"] == AUTHORITY.certificate.public_bytes(Encoding.DER)
    assert payload["PayloadDisplayName"] == "Money App Test"


def test_scep_asks_for_a_key_that_counts() -> None:
    """Apple's default is RSA of 1024 bits; 5 is to sign and to decrypt."""
    [payload] = read(make(make_scep()))["PayloadContent"]
    assert payload["PayloadContent"] == {
        "URL": "https://money.example.com:8444/scep",
        "Name": "Money App Test",
        "Subject": [[["CN", "My iPhone"]]],
        "Challenge": "s3cret-challenge",
        "Key Type": "RSA",
        "Keysize": 2048,
        "Key Usage": 5,
        "CAFingerprint": bytes(range(32)),
        "Retries": 3,
        "RetryDelay": 10,
    }


def test_the_icon_opens_the_app_in_safari() -> None:
    """Full screen is asked for, because nobody has seen it present a certificate."""
    [payload] = read(make(make_clip()))["PayloadContent"]
    assert payload["URL"] == "https://money.example.com/"
    assert payload["Label"] == "Budget"
    assert payload["Icon"] == ICON_PNG
    assert payload["FullScreen"] is False
    assert read(make(make_clip(full_screen=True)))["PayloadContent"][0]["FullScreen"] is True


def test_secrets_are_not_shown_by_repr() -> None:
    """A payload that lands in a log or a traceback gives nothing away."""
    for payload in (make_scep(), make_identity(password=PASSWORD)):
        assert "s3cret" not in repr(payload)
        assert PASSWORD not in repr(payload)


# --- What is refused ------------------------------------------------------------------------------------------------

REFUSED: dict[str, Callable[[], object]] = {
    "no payload": make,
    "two of a kind": lambda: make(make_identity(), make_identity()),
    "control character": lambda: make(ROOT, organization="Money\x00"),
    "lone surrogate": lambda: make(ROOT, name="\ud800"),
    "SHA-1": lambda: make_scep(fingerprint=bytes(20)),
    "SCEP without TLS": lambda: make_scep(url="http://money.example.com/scep"),
    "no label": lambda: make_clip(label=" "),
    "label of two lines": lambda: make_clip(label="Budget\nfree"),
}


@pytest.mark.parametrize("call", REFUSED.values(), ids=REFUSED)
def test_what_no_profile_can_hold_is_refused_with_a_hint(call: Callable[[], object]) -> None:
    """In a sentence, where it is made; not on the phone."""
    with pytest.raises(PKIError) as raised:
        call()
    assert raised.value.hint


@pytest.mark.parametrize(
    "url",
    [
        "",
        "money.example.com",
        "http://money.example.com/",
        "javascript:alert(1)",
        "https://",
        "https:///path",
        "https://money.example.com:port/",
        "https://[::1/",
        "https://money.example.com/ x",
        "https://bücher.example/",
        "https://money.example.com/\n",
    ],
)
def test_an_icon_opens_https_alone(url: str) -> None:
    """An address that a phone would open without a certificate, or not at all, is a mistake."""
    with pytest.raises(PKIError):
        make_clip(url=url)


def png(width: int, height: int, more: int = 0) -> bytes:
    header = struct.pack(">I4sIIBBBBB", 13, b"IHDR", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + header + bytes(more)


def test_a_picture_of_the_largest_size_is_an_icon() -> None:
    """400 x 400, a little less than a megabyte."""
    icon = png(400, 400, 999_000)
    assert require_icon(icon) == icon


@pytest.mark.parametrize(
    "icon",
    [b"", b"GIF89a", ICON_PNG[:20], png(0, 180), png(401, 180), png(180, 401), png(180, 180, 1_000_000)],
    ids=["empty", "another-format", "cut-short", "no-width", "too-wide", "too-high", "too-heavy"],
)
def test_a_picture_that_a_phone_would_not_show_is_refused(icon: bytes) -> None:
    """A white square on the home screen says less than an error does."""
    with pytest.raises(PKIError):
        make_clip(icon=icon)


# --- The icon of our own --------------------------------------------------------------------------------------------


def pixels(image: bytes) -> tuple[bytes, bytes]:
    """The header of a PNG, and its rows, unpacked."""
    chunks, at = {}, 8
    while at < len(image):
        length, kind = struct.unpack(">I4s", image[at : at + 8])
        data = image[at + 8 : at + 8 + length]
        assert struct.unpack(">I", image[at + 8 + length : at + 12 + length]) == (zlib.crc32(kind + data),)
        chunks[kind] = data
        at += 12 + length
    assert list(chunks) == [b"IHDR", b"IDAT", b"IEND"]
    return chunks[b"IHDR"], zlib.decompress(chunks[b"IDAT"])


def test_our_icon_is_what_its_program_draws() -> None:
    """Nobody has to take a binary file on trust; zlib may pack it differently elsewhere."""
    assert ICON.read_bytes() == ICON_PNG
    assert pixels(ICON_PNG) == pixels(draw_icon())


def test_our_icon_has_a_phone_s_size_and_no_transparency() -> None:
    """180 x 180 in RGB; iOS paints what is transparent black."""
    header, rows = pixels(ICON_PNG)
    assert header == struct.pack(">IIBBBBB", 180, 180, 8, 2, 0, 0, 0)
    assert len(rows) == 180 * (1 + 3 * 180)
    assert require_icon(ICON_PNG) == ICON_PNG


# --- Signing --------------------------------------------------------------------------------------------------------


def test_a_foreign_key_signs_nothing() -> None:
    """A phone would find the profile tampered with."""
    with pytest.raises(PKIError, match="belong together"):
        sign_profile(WHOLE, DEVICE.certificate, AUTHORITY.issued.key, [])


def test_a_certificate_that_has_ended_signs_nothing() -> None:
    """A phone would show the profile as unverified."""
    ended = make_leaf(make_authority(), begins=-5 * DAY, ends=timedelta(seconds=-1))
    assert isinstance(ended.key, ec.EllipticCurvePrivateKey)
    with pytest.raises(PKIError, match="ended on"):
        sign_profile(WHOLE, ended.certificate, ended.key, [])
