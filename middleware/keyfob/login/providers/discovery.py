"""Discovery: where a provider of OpenID Connect has what, as it says itself (OpenID Connect Discovery 1.0)."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from keyfob.errors import LoginUnavailable
from keyfob.login.exchanges import Fetched
from keyfob.login.providers.documents import parse
from keyfob.login.providers.oauth import quote

# The characters of RFC 3986, without the fragment that RFC 6749 sections 3.1 and 3.2 forbid.
_URL = re.compile(r"https?://[A-Za-z0-9\-._~:/?\[\]!$&'()*+,;=%]{1,2000}")
_HERE = frozenset({"localhost", "127.0.0.1", "::1"})


class Metadata(NamedTuple):
    """What is needed of a provider's description of itself.

    `userinfo` is empty where there is none. `takes_basic` is whether a client may show its secret in a header, and in
    the form otherwise. `names_itself` is whether it does so whenever it sends a browser back (RFC 9207).
    """

    authorization: str
    token: str
    keys: str
    userinfo: str
    takes_basic: bool
    names_itself: bool
    scopes: frozenset[str]
    prompts: frozenset[str]


def is_private(url: str, *, on_this_machine: bool) -> bool:
    """Whether secrets may be sent there: by https, or, where that is allowed, by plain HTTP to this very machine."""
    if _URL.fullmatch(url) is None:
        return False
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return False
    if not host or port == 0:
        return False
    return parts.scheme == "https" or (on_this_machine and host in _HERE)


def is_issuer(url: str) -> bool:
    """Section 2 of it: a URL without a query. http is for trials on this very machine."""
    return is_private(url, on_this_machine=True) and "?" not in url


def locate(issuer: str) -> str:
    """Where the description stands: section 4.1 of it."""
    return f"{issuer.removesuffix('/')}/.well-known/openid-configuration"


def read_document(answer: Fetched, who: str, what: str) -> dict[str, Any]:
    """The object that an answer holds. Raises LoginUnavailable."""
    if answer.status != 200:
        raise LoginUnavailable(f"{who} answers {answer.status} where its {what} should be")
    try:
        found = parse(answer.body)
    except ValueError as error:
        raise LoginUnavailable(f"the {what} of {who} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise LoginUnavailable(f"the {what} of {who} is no object")
    return found


def read_metadata(answer: Fetched, issuer: str, who: str) -> Metadata:
    """The description, if it is this issuer's. Raises LoginUnavailable."""
    found = read_document(answer, who, "description")
    if found.get("issuer") != issuer:
        # Section 4.3 of it: whoever could pass for another issuer could log in as its people.
        message = f"the description of {who} is another issuer's: {quote(found.get('issuer'))}"
        raise LoginUnavailable(message, f"write that as its issuer, if it is meant, in place of {issuer!r}")
    methods = found.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    takes_basic = _holds(methods, "client_secret_basic")
    if not takes_basic and not _holds(methods, "client_secret_post"):
        raise LoginUnavailable(f"{who} takes a client's secret neither in a header nor in a form: {quote(methods)}")
    return Metadata(
        _read_place(found, "authorization_endpoint", issuer, who),
        _read_place(found, "token_endpoint", issuer, who),
        _read_place(found, "jwks_uri", issuer, who),
        _read_place(found, "userinfo_endpoint", issuer, who) if "userinfo_endpoint" in found else "",
        takes_basic,
        found.get("authorization_response_iss_parameter_supported") is True,
        _read_words(found.get("scopes_supported")),
        _read_words(found.get("prompt_values_supported")),
    )


def _read_place(found: Mapping[str, Any], name: str, issuer: str, who: str) -> str:
    url = found.get(name)
    # What is not on this machine has no reason to send anybody to it.
    if not isinstance(url, str) or not is_private(url, on_this_machine=issuer.startswith("http:")):
        raise LoginUnavailable(f"{who} has no {name} that secrets may be sent to: {quote(url)}")
    return url


def _holds(words: object, word: str) -> bool:
    return isinstance(words, list) and word in words


def _read_words(words: object) -> frozenset[str]:
    return frozenset(each for each in words if isinstance(each, str)) if isinstance(words, list) else frozenset()
