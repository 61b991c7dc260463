"""`budget.toml`: currency, language, categories with their budgets, and the workbook. Every problem is told at once."""

import os
import re
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from babel import Locale, UnknownLocaleError
from babel.numbers import is_currency
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from budget_app.entries import MAX_AMOUNT, FieldError, parse_category
from budget_app.workbooks.workbook import FIELDS

STARTING_CATEGORIES = (
    "Groceries",
    "Coffee",
    "Eating out",
    "Transport",
    "Home",
    "Health",
    "Leisure",
    "Clothes",
    "Gifts",
    "Travel",
    "Other",
)

# SUMIFS reads these in a criterion as wildcards and comparisons, so a category with one would be added up wrongly.
_CRITERIA = re.compile(r"[*?~]|^[=<>]")


class SettingsError(Exception):
    """The settings cannot be used; `problems` are lines of place and what is wrong, one for each mistake."""

    def __init__(self, path: Path, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        self.message = "\n".join([f"{path} cannot be used:", *(f"  {problem}" for problem in problems)])
        self.hint = "mend it, or move it away, and a new one is made"
        super().__init__(self.message)


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _require_category(name: object) -> object:
    if not isinstance(name, str):
        return name
    try:
        name = parse_category(name)
    except FieldError as error:
        raise PydanticCustomError("category", "{why}", {"why": str(error).rstrip(".")}) from error
    if _CRITERIA.search(name):
        raise PydanticCustomError("category", "a spreadsheet reads *, ? and ~, and =, < and > in front, as conditions")
    return name


class Category(_Table):
    """One category, and what may be spent on it in a month; None if it has no limit."""

    name: Annotated[str, BeforeValidator(_require_category)]
    budget: Annotated[float, Field(ge=0, le=float(MAX_AMOUNT))] | None = None


class Columns(_Table):
    """The headings of our columns, in the first row of the table or sheet."""

    date: str = "Date"
    amount: str = "Amount"
    category: str = "Category"
    note: str = "Note"
    device: str = "Device"
    entry_id: str = "Entry ID"

    @model_validator(mode="after")
    def _differ(self) -> Self:
        names = [name.casefold() for name in self.headings]
        if len(set(names)) < len(names) or not all(name.strip() for name in names):
            raise PydanticCustomError("columns", "needs six headings that differ")
        return self

    @property
    def headings(self) -> tuple[str, ...]:
        """In the order of FIELDS."""
        return tuple(getattr(self, name) for name in FIELDS)


class XlsxSettings(_Table):
    """An `.xlsx` file. `table` is the Excel table on the sheet; empty if the columns are not in a table."""

    kind: Literal["xlsx"] = "xlsx"
    path: str = "budget.xlsx"
    sheet: Annotated[str, Field(min_length=1, max_length=31)] = "Expenses"
    table: str = "Expenses"
    columns: Columns = Columns()


class CsvSettings(_Table):
    """A CSV file in UTF-8."""

    kind: Literal["csv"]
    path: str = "budget.csv"
    delimiter: Literal[",", ";", "\t"] = ","
    decimal: Literal[".", ","] = "."
    columns: Columns = Columns()


class GoogleSettings(_Table):
    """A Google spreadsheet, by its id or address, and the service account's key, as a file; else by the environment."""

    kind: Literal["google"]
    spreadsheet: Annotated[str, Field(min_length=1)]
    sheet: Annotated[str, Field(min_length=1)] = "Expenses"
    credentials: str | None = None
    columns: Columns = Columns()


class Settings(_Table):
    """All of `budget.toml`. What is left out has the value that is shown here."""

    currency: str = "EUR"
    language: str = "auto"
    time_zone: str | None = None
    week_start: Literal["monday", "saturday", "sunday"] = "monday"
    display: Literal["browser", "standalone", "minimal-ui"] = "browser"
    categories: Annotated[tuple[Category, ...], Field(max_length=200)] = tuple(
        Category(name=name) for name in STARTING_CATEGORIES
    )
    workbook: Annotated[XlsxSettings | CsvSettings | GoogleSettings, Field(discriminator="kind")] = XlsxSettings()

    @field_validator("currency")
    @classmethod
    def _require_currency(cls, currency: str) -> str:
        if not is_currency(currency):
            raise PydanticCustomError("currency", "is no currency; write its three letters, such as EUR")
        return currency

    @field_validator("language")
    @classmethod
    def _require_language(cls, language: str) -> str:
        try:
            if language != "auto":
                Locale.parse(language, sep="-")
        except (UnknownLocaleError, ValueError) as error:
            raise PydanticCustomError("language", 'is no language; write "auto", "en", "pt", or "pt-BR"') from error
        return language

    @field_validator("time_zone")
    @classmethod
    def _require_zone(cls, zone: str | None) -> str | None:
        try:
            if zone is not None:
                ZoneInfo(zone)
        except (OSError, ValueError, ZoneInfoNotFoundError) as error:
            raise PydanticCustomError("zone", 'is no time zone; write one such as "Europe/Lisbon"') from error
        return zone

    @field_validator("categories")
    @classmethod
    def _differ(cls, categories: tuple[Category, ...]) -> tuple[Category, ...]:
        names = [category.name.lower() for category in categories]
        if not names:
            raise PydanticCustomError("none", "there has to be one at least")
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise PydanticCustomError("twice", "{names} is there twice", {"names": " and ".join(map(repr, twice))})
        return categories

    @property
    def category_names(self) -> tuple[str, ...]:
        """In the order of the file."""
        return tuple(category.name for category in self.categories)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the settings are, or would be: relative paths in them start at its folder, and so does the ledger's."""

    path: Path

    @property
    def folder(self) -> Path:
        return self.path.parent

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger.db"

    def resolve(self, path: str) -> Path:
        """A path as the settings name it."""
        return self.folder / Path(path).expanduser()


def find_place(environ: Mapping[str, str]) -> Place:
    """`$BUDGET_SETTINGS`, else `budget.toml` in `$KEYFOB_HOME`, else in `.keyfob`."""
    folder = Path(environ.get("KEYFOB_HOME") or ".keyfob")
    return Place(Path(environ.get("BUDGET_SETTINGS") or folder / "budget.toml").expanduser().absolute())


def read_settings(place: Place) -> Settings:
    """Read the file; without one, everything has its default. Raises SettingsError, which names every mistake."""
    try:
        text = place.path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Settings()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(place.path, [f"it cannot be read ({error})"]) from error
    try:
        return Settings.model_validate(_complete(tomllib.loads(text)))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise SettingsError(place.path, [f"it is no TOML: {error}"]) from error
    except ValidationError as error:
        raise SettingsError(place.path, [_explain(each) for each in error.errors()]) from error


def _complete(document: dict[str, Any]) -> dict[str, Any]:
    # TOML has lists where we keep tuples, which a strict model tells apart; and xlsx is the kind that needs no word.
    if isinstance(document.get("categories"), list):
        document["categories"] = tuple(document["categories"])
    if isinstance(document.get("workbook"), dict):
        document["workbook"].setdefault("kind", "xlsx")
    return document


def _explain(error: ErrorDetails) -> str:
    place = ".".join(str(part + 1 if isinstance(part, int) else part) for part in _without_tags(error["loc"]))
    if error["type"] == "extra_forbidden":
        table = tuple(part for part in error["loc"][:-1] if isinstance(part, str))
        close = get_close_matches(str(error["loc"][-1]), _TABLES[table].model_fields, n=1)
        return f"{place}: is no setting; " + (
            f"did you mean {close[0]}?" if close else "see the README for all of them"
        )
    return f"{place}: {error['msg']}"


def _without_tags(loc: Sequence[int | str]) -> Iterator[int | str]:
    """Without the kind of workbook, which pydantic puts into the path of what is wrong in one."""
    for index, part in enumerate(loc):
        if not (index == 1 and loc[0] == "workbook" and part in ("xlsx", "csv", "google")):
            yield part


_KINDS: Mapping[str, type[_Table]] = {"xlsx": XlsxSettings, "csv": CsvSettings, "google": GoogleSettings}
_TABLES: Mapping[tuple[str, ...], type[_Table]] = {
    (): Settings,
    ("categories",): Category,
    **{("workbook", kind): table for kind, table in _KINDS.items()},
    **{("workbook", kind, "columns"): Columns for kind in _KINDS},
}


STARTER = """\
# The budget. What is left out has the value shown here. A change counts from the next start.

# currency = "EUR"                 # three letters, ISO 4217
# language = "auto"                # what the browser asks for, or "en", "pt", "pt-BR"
# time_zone = "Europe/Lisbon"      # which day is today; without it, the machine's
# week_start = "monday"            # or "saturday", "sunday"
# display = "browser"              # on the home screen: "standalone" hides the browser around it

# [workbook]
# kind = "xlsx"                    # or "csv", "google": see the README
# path = "budget.xlsx"             # starts at this folder
# sheet = "Expenses"
# table = "Expenses"               # "" if the columns are in no table
# columns = { date = "Date", amount = "Amount", category = "Category", note = "Note", device = "Device", \
entry_id = "Entry ID" }

# In the order of the page; a budget is for one month.
"""


def write_starter(place: Place) -> None:
    """Write the file with its comments and the first categories, unless there is one. Raises SettingsError."""
    categories = "".join(f'\n[[categories]]\nname = "{name}"\n# budget = 100\n' for name in STARTING_CATEGORIES)
    try:
        place.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not place.path.exists():
            _write_new(place.path, STARTER + categories)
    except OSError as error:
        raise SettingsError(place.path, [f"it cannot be written ({error.strerror})"]) from error


def _write_new(path: Path, text: str) -> None:
    """All of it or nothing, for its owner alone, and never over a file that came in the meantime."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        with suppress(FileExistsError):
            os.link(name, path)
    finally:
        Path(name).unlink()
