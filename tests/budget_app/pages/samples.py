"""Pages to look at: an ordinary month, and everything at its longest, largest and oddest."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache

from budget_app.entries import Entry
from budget_app.items import (
    CategorySpending,
    Device,
    Found,
    Health,
    Item,
    Query,
    Spending,
    Suggestion,
    Waiting,
)
from budget_app.pages import (
    DevicesPage,
    EditPage,
    EntriesPage,
    FormPage,
    Frame,
    HealthPage,
    Notice,
    NoticeKind,
    NoticePage,
    OverviewPage,
    Page,
    Renewal,
)
from budget_app.sentences import Sentence
from budget_app.settings import Category, Settings
from budget_app.words import choose_words

TODAY = date(2026, 11, 23)
NOW = datetime(2026, 11, 23, 14, 5, tzinfo=UTC)
MONTH = date(2026, 11, 1)
LONG = "Donaudampfschifffahrtsgesellschaftskapitänsmützen"
HOSTILE = "<script>alert('x')</script>&\"\u202e"
CATEGORIES = (
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
    "Children",
    "Other",
)
BUSY = (
    Sentence("the workbook is open in LibreOffice"),
    Sentence("close it there, and it is written"),
)
LARGEST = Decimal("999999999.99")


def make_settings(language: str = "auto", currency: str = "EUR") -> Settings:
    return Settings(
        language=language,
        currency=currency,
        time_zone="Europe/Lisbon",
        categories=tuple(Category(name=name) for name in CATEGORIES),
    )


def make_health(waiting: int = 0, problem: tuple[Sentence, Sentence] | None = None, *, busy: bool = True) -> Health:
    return Health(
        "/home/rhea/.keyfob/budget.xlsx",
        2315,
        waiting,
        3 if problem else 0,
        problem,
        busy and problem is not None,
        NOW - timedelta(minutes=9),
        NOW - timedelta(hours=26),
        NOW + timedelta(seconds=30) if problem else None,
    )


def make_frame(
    language: str = "auto",
    *,
    currency: str = "EUR",
    waiting: int = 0,
    problem: tuple[Sentence, Sentence] | None = None,
    renewal: Renewal | None = None,
    device: str = "Rhea's iPhone",
    person: str | None = None,
) -> Frame:
    settings = make_settings(language, currency)
    health, words = make_health(waiting, problem), choose_words(settings, None)
    return Frame(device, person, TODAY, renewal, health, settings, words)


def make_item(number: int, amount: str = "4.50", *, category: str = "", note: str = "", waiting: bool = False) -> Item:
    return Item(
        f"0b8e7c1a-1111-4222-8333-{number:012}",
        1,
        TODAY - timedelta(days=number // 3),
        Decimal(amount),
        category or CATEGORIES[number % len(CATEGORIES)],
        note,
        "Rhea's iPhone",
        waiting,
    )


LATEST = (
    make_item(0, "4.50", category="Coffee", note="Galão with Ana", waiting=True),
    make_item(1, "63.18", category="Groceries", note="Weekly shop", waiting=True),
    make_item(2, "-24.90", category="Clothes", note="Jacket sent back"),
    make_item(3, "2.10", category="Transport"),
    make_item(4, "38.00", category="Eating out", note="Lunch, the three of us"),
    Item("", 0, date(2026, 11, 20), Decimal("850.00"), "Home", "Rent", ""),
    make_item(6, "12.00", category="Leisure", note="Cinema"),
    make_item(7, "1.20", category="Coffee"),
    make_item(8, "54.77", category="Groceries"),
    Item("", 0, "mid November", "about ten", "", "", ""),
)

ODD = (
    make_item(0, "999999999.99", category=LONG, note=LONG * 5, waiting=True),
    make_item(1, "-999999999.99", category=HOSTILE, note=HOSTILE),
    replace(make_item(2, note="قهوة مع آنا"), device=LONG),
    Item("", 0, HOSTILE, HOSTILE, HOSTILE, "", HOSTILE),
    replace(make_item(4, "1E+300"), date="someday"),
    replace(make_item(5, "0.005"), date=date(1826, 1, 1)),
)

SUGGESTIONS = tuple(
    Suggestion(f"A note of ordinary length {number}", CATEGORIES[number % 12], Decimal(number * 137) / 100)
    for number in range(1, 61)
)


def make_spending(*, month: date = MONTH) -> Spending:
    spent = ("231.18", "31.70", "118.40", "44.10", "850", "0", "96", "-24.90", "0", "310.55", "60", "7.20")
    budgets = (400, 25, 120, 40, 900, 50, None, 80, 50, 250, 100, None)
    categories = tuple(
        CategorySpending(name, Decimal(cost), None if budget is None else Decimal(budget))
        for name, cost, budget in zip(CATEGORIES, spent, budgets, strict=True)
    )
    totals = (1422, 1508, 1490, 1377, 1621, 1702, 1950, 2411, 1533, 1467, 1602)
    total = sum((each.spent for each in categories), Decimal("13.37"))
    months = [(_back(month, 11 - index), Decimal(number)) for index, number in enumerate(totals)]
    return Spending(
        month,
        categories,
        Decimal("13.37"),
        total,
        Decimal(2015),
        Decimal("393.97") if month == MONTH else None,
        Decimal("49.24625") if month == MONTH else None,
        8 if month == MONTH else 0,
        Decimal("104.78") if month == MONTH else None,
        (*months, (month, total)),
    )


def make_odd_spending() -> Spending:
    categories = (
        CategorySpending(LONG, Decimal("1E+300"), Decimal(0)),
        CategorySpending(HOSTILE, Decimal("-1E+299"), Decimal(1)),
        CategorySpending("Nothing", Decimal(0), Decimal(0)),
        CategorySpending("Nothing more", Decimal(0), None),
    )
    months = tuple((_back(MONTH, 11 - index), Decimal(-50 * index)) for index in range(11))
    total = Decimal("9E+299")
    return Spending(
        MONTH, categories, Decimal(-3), total, Decimal(1), -total, -total / 8, 8, total, (*months, (MONTH, total))
    )


def make_bare_spending() -> Spending:
    """A budget on its first day, without limits."""
    categories = tuple(CategorySpending(name, Decimal(0), None) for name in CATEGORIES)
    months = tuple((_back(MONTH, 11 - index), Decimal(0)) for index in range(12))
    zero = Decimal(0)
    return Spending(MONTH, categories, zero, zero, None, None, None, 8, zero, months)


def _back(month: date, count: int) -> date:
    for _ in range(count):
        month = (month - timedelta(days=1)).replace(day=1)
    return month


def make_form(frame: Frame, kind: NoticeKind | None = "added") -> FormPage:
    return FormPage(
        frame,
        "7c1a0b8e-aaaa-4bbb-8ccc-0123456789ab",
        categories=CATEGORIES,
        suggestions=SUGGESTIONS,
        latest=LATEST,
        spending=make_spending(),
        notice=Notice(kind, LATEST[0], 1) if kind else None,
    )


MISTAKES = {
    "id": Sentence("This id stands for another expense, which is in the list. Open the page again for a new id."),
    "amount": Sentence("Enter an amount, such as 4.50."),
    "category": Sentence("Choose a category."),
    "note": Sentence("Shorten this to {most} characters; it has {count}.", {"most": 500, "count": 10_000}),
    "date": Sentence(
        "Choose a day from {first} to {last}.", {"first": date(2000, 1, 1), "last": TODAY + timedelta(days=366)}
    ),
}
WRONG = {"amount": "four", "category": HOSTILE, "note": HOSTILE, "day": "other", "date": "1826-01-01", "refund": "yes"}


@cache
def make_pages(language: str = "auto") -> dict[str, Page]:
    """Every kind of page by a name, in what states they have."""
    frame = make_frame(language)
    waiting = make_frame(language, waiting=2, problem=BUSY, renewal=Renewal("/renew", TODAY + timedelta(days=20)))
    odd = make_frame(
        language,
        waiting=1234,
        problem=(Sentence(LONG), Sentence(HOSTILE)),
        device=LONG,
        person=f"{LONG}{HOSTILE}@example.com",
        renewal=Renewal("/r", TODAY),
    )
    laptop = make_frame(language, device="me@example.com", person="me@example.com")
    found = Found(LATEST, 1234, Decimal("45678.90"))
    choices = (tuple(_back(MONTH, index) for index in range(14)), ("Rhea's iPhone", "iPad"), CATEGORIES)
    entry = Entry(Decimal("63.18"), "Groceries", TODAY, "Weekly shop")
    return {
        "form": make_form(frame, None),
        "added": make_form(waiting),
        "removed": make_form(frame, "removed"),
        "laptop": make_form(laptop),
        "laptop-devices": DevicesPage(laptop, (Device("me@example.com", 3, Decimal("12.00"), TODAY),)),
        "both": make_form(make_frame(language, person="me@example.com")),
        "mistakes": replace(make_form(frame, None), typed=WRONG, messages=MISTAKES),
        "failure": replace(
            make_form(frame, None), typed={"amount": "4", "category": "Other"}, failure=Sentence("the disk is full")
        ),
        "shell": FormPage(frame, "", categories=CATEGORIES, shell=True),  # noqa: S604  This starts no program.
        "first": FormPage(frame, "x", categories=CATEGORIES[:9], spending=make_bare_spending()),
        "odd-form": replace(
            make_form(odd), latest=ODD, categories=(LONG, HOSTILE, *CATEGORIES), spending=make_odd_spending()
        ),
        "edit": EditPage(frame, LATEST[2]),
        "odd-edit": EditPage(odd, ODD[1], typed=WRONG, messages=MISTAKES),
        "entries": EntriesPage(waiting, Query(), found, 2, 25, *choices),
        "found": EntriesPage(
            frame,
            Query("ana", MONTH, "Rhea's iPhone", "Coffee"),
            Found(LATEST[:1], 1, Decimal("4.50")),
            1,
            1,
            *choices,
            Notice("changed", LATEST[0], 2),
        ),
        "nothing": EntriesPage(frame, Query("zzz"), Found((), 0, Decimal(0)), 1, 1, *choices),
        "odd-entries": EntriesPage(
            odd, Query(HOSTILE, date(1999, 1, 1), HOSTILE, LONG), Found(ODD, 6, Decimal("1E+300")), 1, 9999, *choices
        ),
        "overview": OverviewPage(frame, make_spending(), date(2026, 10, 1), date(2026, 12, 1)),
        "past": OverviewPage(frame, make_spending(month=date(2025, 3, 1)), date(2025, 2, 1), date(2025, 4, 1)),
        "bare-overview": OverviewPage(frame, make_bare_spending(), None, None),
        "odd-overview": OverviewPage(odd, make_odd_spending(), date(2026, 10, 1), None),
        "devices": DevicesPage(
            frame,
            (
                Device("Rhea's iPhone", 1312, Decimal("18345.21"), TODAY),
                Device("", 904, Decimal("60211.00"), date(2026, 11, 2)),
                Device("iPad in the kitchen", 99, Decimal("-3.10"), None),
            ),
        ),
        "no-devices": DevicesPage(frame, ()),
        "odd-devices": DevicesPage(odd, (Device(LONG, 1, LARGEST, TODAY), Device(HOSTILE, 1, LARGEST, TODAY))),
        "health": HealthPage(frame, ()),
        "waiting": HealthPage(
            waiting, (Waiting("a", entry, NOW - timedelta(minutes=4)), Waiting("b", None, NOW - timedelta(days=1)))
        ),
        "odd-health": HealthPage(
            replace(odd, health=replace(odd.health, busy=False)),
            (Waiting("a", replace(entry, category=LONG, note=HOSTILE), NOW),),
        ),
        "notice": NoticePage(frame.words, Sentence("Nothing here"), Sentence("The budget has no such page.")),
    }
