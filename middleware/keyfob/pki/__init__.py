"""Keys and certificates: an authority of one's own, and what it issues."""

from keyfob.pki.authority import Authority, Issued
from keyfob.pki.home import Home, open_home

__all__ = ["Authority", "Home", "Issued", "open_home"]
