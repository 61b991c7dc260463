"""The ledger: what was accepted, on disk before anybody is told so, and what of it the workbook has."""

from budget_app.ledger.journal import Numbers, Record
from budget_app.ledger.ledger import Accepted, Conflict, Ledger, LedgerError, NotInLedger, Stock

__all__ = ["Accepted", "Conflict", "Ledger", "LedgerError", "NotInLedger", "Numbers", "Record", "Stock"]
