"""OAuth 2 as providers speak it who have no OpenID Connect: the code that comes back, and the token for it."""

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

from keyfob.errors import KeyfobError, LoginFailed, LoginUnavailable
from keyfob.login.exchanges import Fetch, Fetched, Steps
from keyfob.login.providers.documents import parse

# Letters of a foreign text that are worth a place in a log.
_SHOWN = 200


def make_challenge(verifier: str) -> str:
    """RFC 7636 section 4.2, S256."""
    return urlsafe_b64encode(hashlib.sha256(verifier.encode("ascii")).digest()).rstrip(b"=").decode("ascii")


def quote(text: object) -> str:
    """A text of somebody else's, fit for a line in a log."""
    return repr(str(text)[:_SHOWN])


def read_code(said: Mapping[str, str], who: str) -> str:
    """The code with which the browser came back (RFC 6749 section 4.1.2). Raises LoginFailed for an error."""
    if "error" in said:
        raise LoginFailed(f"{who} says {quote(said['error'])}: {quote(said.get('error_description', ''))}")
    code = said.get("code", "")
    if not code:
        raise LoginFailed(f"{who} sent the browser back with neither a code nor an error")
    return code


def ask_token(url: str, form: Mapping[str, str], authority: str) -> Steps[Fetched]:
    """The answer to a token request (RFC 6749 section 4.1.3), whatever it is."""
    headers = {"accept": "application/json", "content-type": "application/x-www-form-urlencoded"}
    answer: Fetched = yield Fetch("POST", url, headers, urlencode(form).encode("ascii"), authority)
    return answer


def read_token(found: Mapping[str, Any], who: str) -> str:
    """The token of an answer that is no error. Raises LoginUnavailable if it is another kind of token, or none."""
    token, kind = found.get("access_token"), found.get("token_type")
    # It is written into a header: RFC 6750 section 2.1 has the characters.
    if not isinstance(token, str) or not token.isascii() or not token.isprintable() or not token or " " in token:
        raise LoginUnavailable(f"{who} answers with no access token")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise LoginUnavailable(f"{who} answers with a token of the type {quote(kind)}")
    return token


def read_json(answer: Fetched, who: str) -> Any:
    """What an answer says. Raises LoginUnavailable if it is no JSON."""
    try:
        return parse(answer.body)
    except ValueError as error:
        raise LoginUnavailable(f"{who} answers {answer.status} with something other than JSON: {error}") from error


def read_object(answer: Fetched, who: str) -> dict[str, Any]:
    """As `read_json`, for an answer that has to be an object."""
    found = read_json(answer, who)
    if not isinstance(found, dict):
        raise LoginUnavailable(f"{who} answers {answer.status} with something other than an object")
    return found


def require_private(url: str) -> str:
    """The URL without a slash at its end, if secrets may be sent there. Raises KeyfobError.

    Over plain HTTP they may be sent to this very machine alone.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port, parts = "", None, urlsplit("")
    is_here = host in {"localhost", "127.0.0.1", "::1"}
    is_plain = not (parts.username or parts.password or parts.query or parts.fragment) and port != 0
    if not host or not is_plain or parts.scheme not in ({"https", "http"} if is_here else {"https"}):
        raise KeyfobError(f"{url!r} is no address for secrets", 'write "https://github.example.com"')
    return url.rstrip("/")
