"""The inventory: which certificates exist, whose they are, and which of them count no longer."""

from keyfob.inventory.inventory import Inventory, Order, Sighting, open_inventory
from keyfob.inventory.invitations import Invitation, Invitations, Lapsed, Unknown, UsedBefore
from keyfob.inventory.records import (
    Entry,
    NameTaken,
    NotInInventory,
    Record,
    RevocationReason,
    State,
    Stored,
    Withdrawal,
    make_entry,
)

__all__ = [
    "Entry",
    "Inventory",
    "Invitation",
    "Invitations",
    "Lapsed",
    "NameTaken",
    "NotInInventory",
    "Order",
    "Record",
    "RevocationReason",
    "Sighting",
    "State",
    "Stored",
    "Unknown",
    "UsedBefore",
    "Withdrawal",
    "make_entry",
    "open_inventory",
]
