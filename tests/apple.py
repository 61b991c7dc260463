"""Apple's configuration profiles as Apple describes them: which keys a payload may have, must have, and of which type.

A table for tests, taken from the schema that Apple publishes (github.com/apple/device-management). Independent of
`keyfob`.
"""

import plistlib
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple


class Key(NamedTuple):
    """What stands behind a key. `among` are its possible values, if they are few."""

    kind: type
    required: bool = False
    among: tuple[object, ...] = ()
    inside: Mapping[str, Any] | None = None
    """Such a table again."""


OPTIONAL_TEXT, TEXT = Key(str), Key(str, required=True)
FLAG, NUMBER = Key(bool), Key(int)

COMMON = {
    "PayloadType": TEXT,
    "PayloadVersion": Key(int, required=True, among=(1,)),
    "PayloadIdentifier": TEXT,
    "PayloadUUID": TEXT,
    "PayloadDisplayName": OPTIONAL_TEXT,
    "PayloadDescription": OPTIONAL_TEXT,
    "PayloadOrganization": OPTIONAL_TEXT,
}

TOP = COMMON | {
    "PayloadType": Key(str, required=True, among=("Configuration",)),
    "PayloadContent": Key(list, required=True),
    "ConsentText": Key(dict),
    "RemovalDate": Key(datetime),
    "DurationUntilRemoval": Key(float),
    "PayloadExpirationDate": Key(datetime),
    "TargetDeviceType": Key(int, among=(0, 1, 2, 3, 4, 5, 6)),
    "HasRemovalPasscode": FLAG,
    "PayloadScope": Key(str, among=("System", "User")),
}

_CERTIFICATE = COMMON | {"PayloadContent": Key(bytes, required=True), "PayloadCertificateFileName": OPTIONAL_TEXT}
_ALTERNATIVES = dict.fromkeys(("rfc822Name", "dNSName", "uniformResourceIdentifier", "ntPrincipalName"), OPTIONAL_TEXT)
_SCEP = {
    "URL": TEXT,
    "Name": OPTIONAL_TEXT,
    "Subject": Key(list),
    "Challenge": OPTIONAL_TEXT,
    "Keysize": Key(int, among=(1024, 2048, 4096)),
    "Key Type": Key(str, among=("RSA",)),
    "Key Usage": Key(int, among=(0, 1, 4, 5)),
    "CAFingerprint": Key(bytes),
    "Retries": NUMBER,
    "RetryDelay": NUMBER,
    "SubjectAltName": Key(dict, inside=_ALTERNATIVES),
    "KeyIsExtractable": FLAG,
    "AllowAllAppsAccess": FLAG,
}

PAYLOADS: Mapping[str, Mapping[str, Key]] = {
    "com.apple.security.pkcs12": _CERTIFICATE
    | {"Password": OPTIONAL_TEXT, "AllowAllAppsAccess": FLAG, "KeyIsExtractable": FLAG},
    "com.apple.security.root": _CERTIFICATE,
    "com.apple.security.pem": _CERTIFICATE,
    "com.apple.security.scep": COMMON | {"PayloadContent": Key(dict, required=True, inside=_SCEP)},
    "com.apple.webClip.managed": COMMON
    | {
        "URL": TEXT,
        "Label": TEXT,
        "Icon": Key(bytes),
        "FullScreen": FLAG,
        "IsRemovable": FLAG,
        "Precomposed": FLAG,
        "IgnoreManifestScope": FLAG,
    },
}


def find_faults(profile: bytes) -> list[str]:
    """Everything in a profile (a property list, not signed) that Apple's schema does not allow."""
    read: Any = plistlib.loads(profile, fmt=plistlib.FMT_XML)
    found = [*_compare(read, TOP, "profile")]
    payloads = read.get("PayloadContent", [])
    for each in payloads:
        kind = each.get("PayloadType")
        found += _compare(each, PAYLOADS[kind], kind) if kind in PAYLOADS else [f"{kind}: no payload"]
    for name in ("PayloadIdentifier", "PayloadUUID"):
        named = [each.get(name) for each in (read, *payloads)]
        found += [f"{name} comes twice"] if len(set(named)) < len(named) else []
    return found


def _compare(read: Mapping[str, Any], keys: Mapping[str, Key], where: str) -> Iterator[str]:
    yield from (f"{where}: {name} is missing" for name, key in keys.items() if key.required and name not in read)
    for name, value in read.items():
        key, place = keys.get(name), f"{where}: {name}"
        if key is None:
            yield f"{place} is unknown"
        # A bool is an int for Python, and none for Apple.
        elif type(value) is not key.kind:
            yield f"{place} is a {type(value).__name__}"
        elif key.among and value not in key.among:
            yield f"{place} is {value!r}"
        elif key.inside is not None:
            inside: Any = value
            yield from _compare(inside, key.inside, place)
        elif name in _SHAPES and not _SHAPES[name](value):
            yield f"{place} is malformed"


def _is_uuid(value: str) -> bool:
    return str(uuid.UUID(value)).upper() == value


def _is_subject(value: list[Any]) -> bool:
    """RDNs, each of pairs: [[["O", "x"]], [["CN", "y"]]]."""
    pairs = [pair for rdn in value for pair in rdn]
    return bool(pairs) and all(len(pair) == 2 and all(type(each) is str for each in pair) for pair in pairs)


_SHAPES: Mapping[str, Callable[[Any], bool]] = {
    "PayloadUUID": _is_uuid,
    "PayloadIdentifier": lambda value: re.fullmatch(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+", value) is not None,
    "Subject": _is_subject,
    # SHA-1, MD5 and the SHA-2 family are told apart by their lengths.
    "CAFingerprint": lambda value: len(value) in (16, 20, 28, 32, 48, 64),
}
