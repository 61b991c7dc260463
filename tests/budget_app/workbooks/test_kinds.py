"""The settings name the workbook: each kind is made from its own settings, and nothing is touched by that."""

import subprocess
import sys
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import pytest

from budget_app.entries import Entry
from budget_app.settings import Place, Settings, read_settings
from budget_app.workbooks.csv import CsvWorkbook
from budget_app.workbooks.google import GoogleWorkbook
from budget_app.workbooks.kinds import KINDS, make_workbook
from budget_app.workbooks.workbook import Change
from budget_app.workbooks.xlsx import XlsxWorkbook
from servers import environment

LUNCH = Entry(Decimal("12.50"), "Eating out", date(2025, 11, 23), "Lunch")
COLUMNS = (
    '[workbook.columns]\ndate = "Day"\namount = "Price"\ncategory = "Kind"\nnote = "What"\n'
    'device = "Who"\nentry_id = "Key"\n'
)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "budget.toml")


def read(place: Place, text: str) -> Settings:
    place.path.write_text(text, encoding="utf-8")
    return read_settings(place)


def test_every_kind_of_the_settings_can_be_made() -> None:
    """And no other: the two lists are one."""
    annotation = Settings.model_fields["workbook"].annotation
    kinds = {word for model in get_args(annotation) for word in get_args(model.model_fields["kind"].annotation)}
    assert set(KINDS) == kinds == {"xlsx", "csv", "google"}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", XlsxWorkbook),
        ('[workbook]\nkind = "csv"\n', CsvWorkbook),
        ('[workbook]\nkind = "google"\nspreadsheet = "1a2b"\ncredentials = "key.json"\n', GoogleWorkbook),
    ],
)
def test_making_a_workbook_touches_nothing(place: Place, text: str, kind: type[object]) -> None:
    """Neither the disk nor the network: that is for the writer, which can wait and try again."""
    settings = read(place, text)
    assert type(make_workbook(settings, place)) is kind
    assert list(place.folder.iterdir()) == [place.path]


@pytest.mark.parametrize("kind", ["xlsx", "csv"])
@pytest.mark.parametrize("path", ["own/money.file", "{folder}/elsewhere/money.file"])
def test_a_path_starts_at_the_folder_of_the_settings(place: Place, kind: str, path: str) -> None:
    """Or is a whole one; the workbook is made there, with its headings, and takes an entry."""
    path = path.format(folder=place.folder)
    settings = read(place, f'[workbook]\nkind = "{kind}"\npath = "{path}"\n{COLUMNS}')
    workbook = make_workbook(settings, place)
    assert workbook.place == str(place.folder / path)
    workbook.prepare()
    workbook.write([Change("a", LUNCH, "Rhea Group", written=False)])
    assert (place.folder / path).is_file()
    (row,) = workbook.read().rows
    assert (row.date, row.amount, row.category, row.note) == (LUNCH.date, LUNCH.amount, LUNCH.category, LUNCH.note)
    assert (row.device, row.entry_id) == ("Rhea Group", "a")


def test_a_csv_file_has_the_marks_and_headings_of_the_settings(place: Place) -> None:
    """As a spreadsheet of that country writes it."""
    settings = read(place, f'[workbook]\nkind = "csv"\ndelimiter = ";"\ndecimal = ","\n{COLUMNS}')
    workbook = make_workbook(settings, place)
    workbook.prepare()
    workbook.write([Change("a", LUNCH, "Rhea Group", written=False)])
    headings, row = (place.folder / "budget.csv").read_text(encoding="utf-8-sig").splitlines()
    assert headings == "Day;Price;Kind;What;Who;Key"
    assert row == "2025-11-23;12,50;Eating out;Lunch;Rhea Group;a"


def test_an_xlsx_file_has_the_budgets_and_the_currency_of_the_settings(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They stand in the sheet that adds up."""
    asked = watch(monkeypatch, "budget_app.workbooks.kinds.XlsxWorkbook")
    text = (
        'currency = "CHF"\n[[categories]]\nname = "Home"\nbudget = 100\n[[categories]]\nname = "Café"\n'
        '[workbook]\nsheet = "Ausgaben"\ntable = ""\n'
    )
    make_workbook(read(place, text), place)
    path, sheet, table, headings, budgets, currency = asked[0]
    assert (path, sheet, table, currency) == (place.folder / "budget.xlsx", "Ausgaben", "", "CHF")
    assert list(budgets) == [("Home", 100.0), ("Café", None)]
    assert headings == ("Date", "Amount", "Category", "Note", "Device", "Entry ID")


@pytest.mark.parametrize(
    ("line", "key"), [("", None), ('credentials = "key.json"', "{}/key.json"), ('credentials = "/srv/k"', "/srv/k")]
)
def test_google_gets_its_key_from_a_file_or_from_the_environment(
    place: Place, monkeypatch: pytest.MonkeyPatch, line: str, key: str | None
) -> None:
    """Without a file in the settings it is for the workbook to look into the environment."""
    asked = watch(monkeypatch, "budget_app.workbooks.google.GoogleWorkbook")
    make_workbook(read(place, f'[workbook]\nkind = "google"\nspreadsheet = "1a2b"\n{line}\n{COLUMNS}'), place)
    spreadsheet, sheet, headings, credentials, _ = asked[0]
    assert (spreadsheet, sheet, headings[1]) == ("1a2b", "Expenses", "Price")
    assert credentials == (None if key is None else Path(key.format(place.folder)))


def test_what_google_needs_is_loaded_for_google_alone() -> None:
    """It takes half a second, and who keeps a file need not even have it."""
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from budget_app.settings import CsvSettings, Place, Settings\n"
        "from budget_app.workbooks.kinds import make_workbook\n"
        "place = Place(Path('/nowhere/budget.toml'))\n"
        "make_workbook(Settings(), place)\n"
        "make_workbook(Settings(workbook=CsvSettings(kind='csv')), place)\n"
        "print(*{'gspread', 'google.auth', 'requests'} & set(sys.modules))\n"
    )
    said = subprocess.run([sys.executable, "-c", script], env=environment(), capture_output=True, text=True, check=True)
    assert said.stdout.strip() == ""


def watch(monkeypatch: pytest.MonkeyPatch, name: str) -> list[tuple[Any, ...]]:
    """What the class of this name is made with."""
    asked: list[tuple[Any, ...]] = []

    def make(*values: Any, **_: Any) -> None:
        asked.append(values)

    monkeypatch.setattr(name, make)
    return asked
