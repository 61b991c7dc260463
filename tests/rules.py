"""Configurations that several tests start a server with: for `localhost`, with the CA in `ca.pem`."""

_RULES = """\
[source]
kind = "tls"

[[root_certificates]]
name = "Test CA"
certificate = "ca.pem"
associated_hostnames = ["localhost"]

[[applications]]
name = "App"
domain = "localhost"

[[applications.policies]]
"""

ANY_DEVICE = _RULES + 'name = "Any device"\ndecision = "non_identity"\ninclude = [{ certificate = {} }]\n'
EVERYONE = _RULES + 'name = "Everyone"\ndecision = "bypass"\ninclude = [{ everyone = {} }]\n'
