"""Which workbook the settings name: one row a kind."""

import os
from collections.abc import Callable, Mapping

from budget_app.settings import CsvSettings, GoogleSettings, Place, Settings, XlsxSettings
from budget_app.workbooks.csv import CsvWorkbook
from budget_app.workbooks.workbook import Workbook
from budget_app.workbooks.xlsx import XlsxWorkbook


def make_workbook(settings: Settings, place: Place) -> Workbook:
    """The workbook, not yet looked at. Paths start at the folder of the settings."""
    return KINDS[settings.workbook.kind](settings, place)


def _make_xlsx(settings: Settings, place: Place) -> Workbook:
    named = settings.workbook
    if not isinstance(named, XlsxSettings):
        raise TypeError(named)
    budgets = [(category.name, category.budget) for category in settings.categories]
    path, headings = place.resolve(named.path), named.columns.headings
    return XlsxWorkbook(path, named.sheet, named.table, headings, budgets, settings.currency)


def _make_csv(settings: Settings, place: Place) -> Workbook:
    named = settings.workbook
    if not isinstance(named, CsvSettings):
        raise TypeError(named)
    return CsvWorkbook(place.resolve(named.path), named.delimiter, named.decimal, named.columns.headings)


def _make_google(settings: Settings, place: Place) -> Workbook:
    # gspread and what it needs take half a second to load, and nobody else needs them.
    from budget_app.workbooks.google import GoogleWorkbook  # noqa: PLC0415

    named = settings.workbook
    if not isinstance(named, GoogleSettings):
        raise TypeError(named)
    key = place.resolve(named.credentials) if named.credentials else None
    doubts = place.folder / "google-doubts.json"
    return GoogleWorkbook(named.spreadsheet, named.sheet, named.columns.headings, key, os.environ, doubts=doubts)


KINDS: Mapping[str, Callable[[Settings, Place], Workbook]] = {
    "xlsx": _make_xlsx,
    "csv": _make_csv,
    "google": _make_google,
}
