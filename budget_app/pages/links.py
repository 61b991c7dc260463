"""Addresses within the app."""

from datetime import date
from urllib.parse import quote, urlencode

from budget_app.items import Query


def link_entries(query: Query, page: int = 1) -> str:
    """Where these entries are listed."""
    asked = {
        "q": query.text,
        "month": query.month.isoformat()[:7] if query.month else "",
        "category": query.category,
        "device": query.device,
        "page": str(page) if page > 1 else "",
    }
    given = urlencode({name: value for name, value in asked.items() if value})
    return f"/entries?{given}" if given else "/entries"


def link_entry(entry_id: str, action: str = "") -> str:
    """Where one entry is edited, or what is done to it: `remove` or `undo`."""
    path = f"/entries/{quote(entry_id, safe='')}"
    return f"{path}/{action}" if action else path


def link_copy(entry_id: str) -> str:
    """Where a new expense starts as a copy of this one."""
    return "/?" + urlencode({"copy": entry_id})


def link_month(month: date) -> str:
    """The overview of a month."""
    return f"/overview?month={month.isoformat()[:7]}"
