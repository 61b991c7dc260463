"""The form as it is filled in: from what was typed, else from the entry that is edited, else for a new expense."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from budget_app.items import Item
from budget_app.pages.page import EditPage, FormPage
from budget_app.sentences import Sentence
from budget_app.words import Words

FIELDS = ("amount", "category", "note", "date")
"""From the top of the form to its end."""

_CHIPS = 8


@dataclass(frozen=True, slots=True)
class Fields:
    """`chips` are the categories that are seen at once, `more` those behind a fold, and `category` the chosen one.

    `day` is `today`, `yesterday` or `other`, which `date` belongs to. `focus` is the field to begin with, `elsewhere`
    what is wrong with no field that can be seen.
    """

    amount: str
    refund: bool
    category: str
    note: str
    day: str
    date: str
    chips: Sequence[str]
    more: Sequence[str]
    messages: Mapping[str, Sentence]
    focus: str

    @property
    def opened(self) -> bool:
        """Whether the fold has to be open, because what was chosen is in it."""
        return self.category in self.more

    @property
    def elsewhere(self) -> Iterator[Sentence]:
        return (sentence for name, sentence in self.messages.items() if name not in FIELDS)


def fill_in(page: FormPage) -> Fields:
    """The form for a new expense."""
    focus = next((name for name in FIELDS if name in page.messages), "amount")
    return _fill(page.typed, page.messages, page.categories, page.frame.today, focus)


def fill_in_again(page: EditPage) -> Fields:
    """The form of an entry that is there. Nothing is focused at first: it may be here to be read, or removed."""
    typed = page.typed or _retype(page.item, page.frame.words)
    focus = next((name for name in FIELDS if name in page.messages), "")
    return _fill(typed, page.messages, page.frame.settings.category_names, page.frame.today, focus)


def _fill(
    typed: Mapping[str, str], messages: Mapping[str, Sentence], categories: Sequence[str], today: date, focus: str
) -> Fields:
    written = typed.get("category", "").strip().lower()
    # One more is no reason for a fold.
    count = len(categories) if len(categories) <= _CHIPS + 1 else _CHIPS
    return Fields(
        amount=typed.get("amount", ""),
        refund=bool(typed.get("refund")),
        category=next((name for name in categories if name.lower() == written), ""),
        note=typed.get("note", ""),
        day="other" if "date" in messages else _choose_day(typed, today),
        date=_choose_date(typed.get("date", ""), today),
        chips=categories[:count],
        more=categories[count:],
        messages=messages,
        focus=focus,
    )


def _choose_day(typed: Mapping[str, str], today: date) -> str:
    if typed.get("day") in ("today", "yesterday", "other"):
        return typed["day"]
    written = typed.get("date", "").strip()
    if written in ("", "today", today.isoformat()):
        return "today"
    return "yesterday" if written in ("yesterday", (today - timedelta(days=1)).isoformat()) else "other"


def _choose_date(written: str, today: date) -> str:
    return today.isoformat() if written in ("", "today", "yesterday") else written


def _retype(item: Item, words: Words) -> Mapping[str, str]:
    """An entry as a person would have typed it; what the workbook has instead of a number or a day stays as it is."""
    amount = item.amount
    return {
        "amount": words.typed_amount(abs(amount)) if isinstance(amount, Decimal) else amount,
        "refund": "1" if isinstance(amount, Decimal) and amount < 0 else "",
        "category": item.category,
        "note": item.note,
        "date": str(item.date),
    }
