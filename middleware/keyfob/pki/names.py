"""Names of devices: common names that people read, and files that are called after them."""

import re
import unicodedata

from keyfob.errors import PKIError

# RFC 5280 appendix A.1, ub-common-name, in octets of UTF-8, as OpenSSL and `cryptography` count it.
LONGEST_NAME = 64
# As `keyfob revoke` takes serial numbers and fingerprints; a name goes first there.
_NUMBER = re.compile("[0-9A-Fa-f]{36,40}|[0-9A-Fa-f]{64}")
_FORBIDDEN = {"/", "\\"}
# Control and format characters (right-to-left marks among them), surrogates, private use, unassigned, line separators.
_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def require_device_name(name: str) -> str:
    """The name, if a device may have it: what is shown is what is meant. Raises PKIError."""
    if not name.strip():
        raise PKIError("a device needs a name", "such as 'My iPhone'")
    shown = repr(name if len(name) <= LONGEST_NAME else name[:20] + "…")
    if len(name.encode("utf-8", "surrogatepass")) > LONGEST_NAME:
        raise PKIError(f"{shown} is longer than {LONGEST_NAME} octets", "take a shorter name")
    for each in name:
        if each in _FORBIDDEN:
            raise PKIError(f"{shown} has a {each!r} in it, and files are called after it", "leave it out")
        if unicodedata.category(each) in _INVISIBLE:
            raise PKIError(f"{name!a} has a character in it that cannot be seen, U+{ord(each):04X}", "leave it out")
    _require_plain(name, shown)
    return name


def _require_plain(name: str, shown: str) -> None:
    if name != name.strip() or name != unicodedata.normalize("NFC", name):
        message = f"{name!a} is not what it looks like"
        raise PKIError(message, "no spaces around it, and accents as one character (NFC)")
    if name.startswith((".", "-")):
        message = f"{shown} begins with {name[0]!r}, which files and commands take for something else"
        raise PKIError(message, "begin with a letter")
    if _NUMBER.fullmatch(name.replace(":", "")):
        raise PKIError(f"{shown} can be taken for a serial number or a fingerprint", "take another name")
    if name.endswith("-key"):
        raise PKIError(f"{shown} ends with '-key', as the file with another device's key does", "leave it out")
