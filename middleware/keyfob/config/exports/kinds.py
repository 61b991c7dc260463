"""The types that Access gives its applications and lists, and which of them guard what is served here."""

from collections.abc import Mapping

SELF_HOSTED = "self_hosted"

# These guard nothing that a request here could reach, so leaving them out opens nothing.
STAYING: Mapping[str, str] = {
    "app_launcher": "the launcher",
    "biso": "browsers in the cloud",
    "bookmark": "nothing; it is a link",
    "dash_sso": "the login to the dashboard",
    "saas": "the login to somebody else's service",
    "warp": "the enrolment of devices",
}

# These guard hosts, which a wildcard of another application might open if they were left out.
UNSUPPORTED: Mapping[str, str] = {
    "infrastructure": "machines behind SSH",
    "mcp": "a server of the Model Context Protocol",
    "mcp_portal": "servers of the Model Context Protocol",
    "private_ip": "an address that only WARP reaches",
    "proxy_endpoint": "a proxy of the cloud's",
    "rdp": "a remote desktop",
    "ssh": "a terminal in the browser",
    "vnc": "a screen in the browser",
}

APPLICATION_TYPES = frozenset({SELF_HOSTED, *STAYING, *UNSUPPORTED})

# Rules refer to lists of the first two types alone; the others serve products beside Access.
IP, EMAIL = "IP", "EMAIL"
LIST_TYPES = frozenset({IP, EMAIL, "SERIAL", "URL", "DOMAIN", "CATEGORY", "LOCATION", "DEVICE", "AAGUID"})
