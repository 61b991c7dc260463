"""Whom a host believes: its roots, whether a chain leads to one of them, and whether it has been withdrawn."""

from keyfob.trust.crl import RevocationList, read_crls
from keyfob.trust.revocation import Response, Responses, Revocation, Stale
from keyfob.trust.roots import Roots, read_roots
from keyfob.trust.serials import OwnList, UnusableList, read_own_list
from keyfob.trust.verification import Verifier
from keyfob.trust.withdrawals import Withdrawals

__all__ = [
    "OwnList",
    "Response",
    "Responses",
    "Revocation",
    "RevocationList",
    "Roots",
    "Stale",
    "UnusableList",
    "Verifier",
    "Withdrawals",
    "read_crls",
    "read_own_list",
    "read_roots",
]
