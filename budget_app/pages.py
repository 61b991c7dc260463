"""What the person sees: the page with the form and the latest entries, and the small page of a refusal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from budget_app.entries import MAX_CATEGORY, MAX_NOTE, STARTING_CATEGORIES
from budget_app.rows import Row
from budget_app.workbook import WorkbookError

LATEST = 10
_MAX_SUGGESTIONS = 60
_LABELS = {"amount": "Amount", "category": "Category", "date": "Date", "note": "Note"}


@dataclass(frozen=True, slots=True)
class FormPage:
    """Everything the page shows.

    `typed` holds the text of each field by name and `messages` a sentence for each field that is wrong. `problem` is
    why the workbook could not be used, `added` the row that was just added, `rows` the whole sheet from the top.
    """

    device: str
    submission: str
    today: date
    rows: Sequence[Row] = ()
    typed: Mapping[str, str] = field(default_factory=dict)
    messages: Mapping[str, str] = field(default_factory=dict)
    problem: WorkbookError | None = None
    added: Row | None = None

    @property
    def latest(self) -> list[Row]:
        """The last rows of the sheet, newest first."""
        return list(reversed(self.rows[-LATEST:]))

    @property
    def first_bad_field(self) -> str | None:
        """The topmost field that is wrong."""
        return next((name for name in _LABELS if name in self.messages), None)

    @property
    def categories(self) -> list[str]:
        """What to suggest: the categories in the sheet, latest first, and then those to start with."""
        used = (row.category for row in reversed(self.rows) if 0 < len(row.category) <= MAX_CATEGORY)
        return _unlike((*used, *STARTING_CATEGORIES))[:_MAX_SUGGESTIONS]


def render_form(page: FormPage) -> str:
    """The page as HTML."""
    return _environment.get_template("form.html").render(
        page=page, labels=_LABELS, max_category=MAX_CATEGORY, max_note=MAX_NOTE
    )


def render_notice(title: str, sentence: str) -> str:
    """A page that says one thing and leads back to the form, as HTML."""
    return _environment.get_template("notice.html").render(title=title, sentence=sentence)


def format_amount(amount: Decimal | str) -> str:
    """Money with two decimals and grouped thousands; the text of a cell that holds none, as it is."""
    return amount if isinstance(amount, str) else f"{amount:,.2f}"


def format_day(day: date | str, today: date) -> str:
    """A day as a person says it: `Today`, `Yesterday`, `23 Nov`, and with its year if that is another one."""
    if isinstance(day, str):
        return day
    if day == today:
        return "Today"
    if day == today - timedelta(days=1):
        return "Yesterday"
    return f"{day.day} {day:%b}" if day.year == today.year else f"{day.day} {day:%b %Y}"


def _unlike(names: Sequence[str]) -> list[str]:
    """The names in their order, without those that differ from an earlier one only in upper and lower case."""
    seen: dict[str, str] = {}
    for name in names:
        seen.setdefault(name.casefold(), name)
    return list(seen.values())


def _build_environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["amount"] = format_amount
    environment.filters["day"] = format_day
    return environment


_environment = _build_environment()
