"""Addresses within the app, with everything in them escaped."""

from datetime import date

from budget_app.items import Query
from budget_app.pages.links import link_copy, link_entries, link_entry, link_month


def test_a_search_is_an_address() -> None:
    """What is not looked for is not in it, nor is the first page."""
    assert link_entries(Query()) == "/entries"
    query = Query("a&b", date(2026, 11, 1), "Ana's iPad", "Eating out")
    assert link_entries(query, 2) == ("/entries?q=a%26b&month=2026-11&category=Eating+out&device=Ana%27s+iPad&page=2")


def test_a_month_has_four_digits_for_its_year() -> None:
    """A year as a workbook may hold it is written as the app reads it."""
    assert link_month(date(826, 1, 1)) == "/overview?month=0826-01"
    assert link_entries(Query(month=date(826, 1, 1))) == "/entries?month=0826-01"


def test_an_id_cannot_leave_its_place_in_the_address() -> None:
    """Whatever an id is made of, it is one segment, or one value."""
    assert link_entry("a/../b?c", "remove") == "/entries/a%2F..%2Fb%3Fc/remove"
    assert link_entry("1.2_3-4") == "/entries/1.2_3-4"
    assert link_copy("a&b") == "/?copy=a%26b"
