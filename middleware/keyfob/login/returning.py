"""Where a login leads in the end: an address of the app itself, and of nobody else."""

import re
from urllib.parse import parse_qsl, unquote

from keyfob.policy.paths import find_doubt
from keyfob.request import PLACE

LONGEST = 1500

# The path and query that a browser asks for: the characters of RFC 3986, and those that browsers leave as they are
# beside them. Browsers take a backslash in a path for a slash, and drop tabs and line ends.
_PATH = r"[A-Za-z0-9\-._~!$&'()*+,=:@%/\[\]|]*"
_BACK = re.compile(rf"/{_PATH}(?:\?[A-Za-z0-9\-._~!$&'()*+,;=:@%/\[\]|?{{}}^`]*)?")


def check_back(text: str, base: str = "") -> str:
    """The address, percent-encoded, if it is one of the app's own; its first page otherwise.

    `base` is the prefix under which the app is mounted, percent-encoded as well. Not the app's own is what somebody
    could read as another path or host, encoded once or more often (a second slash begins a host), and what would lead
    back into a login.
    """
    home = f"{base}/"
    if len(text) > LONGEST or _BACK.fullmatch(text) is None or not text.startswith(home):
        return home
    path = unquote(text.partition("?")[0])
    if find_doubt(path) is not None or path.startswith(unquote(base) + PLACE):
        return home
    return text


def read_query(query: bytes) -> dict[str, str]:
    """The parameters of a query, each once; what comes twice is left out, as nobody knows which one is meant."""
    found: dict[str, str] = {}
    twice: set[str] = set()
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, max_num_fields=50)
    except ValueError:
        return {}
    for name, value in pairs:
        if name in found:
            twice.add(name)
        found[name] = value
    return {name: value for name, value in found.items() if name not in twice}
