"""Cookies of our own: how they are called, found, and made."""

from collections.abc import Sequence

from keyfob.request import COOKIES, Headers

PREFIX = COOKIES.decode("ascii")
# What tells one browser from another while somebody logs in: one cookie, however many logins are under way.
BROWSER = f"{PREFIX}browser"


def name_session(audience: str) -> str:
    """The name of the cookie that holds an application's session."""
    return PREFIX + audience


def find_cookie(headers: Headers, name: str) -> str | None:
    """The value of a cookie; None if there is none, or if there are two that differ: nobody knows whose they are."""
    wanted = name.encode("ascii")
    found = {
        value.strip()
        for header, fields in headers
        # Looked for first: most fields are not split in vain.
        if header == b"cookie" and wanted in fields
        for field in fields.split(b";")
        for key, sign, value in [field.partition(b"=")]
        if sign and key.strip() == wanted
    }
    if len(found) != 1:
        return None
    [value] = found
    return value.decode("latin-1")


def set_cookie(name: str, value: str, seconds: int) -> tuple[bytes, bytes]:
    """The header that gives the browser a cookie of ours, or takes it away with 0 seconds.

    Lax: it comes along when somebody follows a link from elsewhere, such as back from a provider, and never with what
    another site sends by itself.
    """
    parts: Sequence[str] = (f"{name}={value}", "Path=/", f"Max-Age={seconds}", "HttpOnly", "Secure", "SameSite=Lax")
    return b"set-cookie", "; ".join(parts).encode("ascii")
