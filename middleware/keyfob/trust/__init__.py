"""Whom a host believes: its roots, and whether a chain leads to one of them."""

from keyfob.trust.roots import Roots, read_roots
from keyfob.trust.verification import Verifier

__all__ = ["Roots", "Verifier", "read_roots"]
