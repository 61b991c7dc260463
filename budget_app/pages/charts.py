"""Bars, as numbers: where each begins and ends, in hundredths of the room there is. The templates draw them.

All bars of one picture have one scale, which begins at zero, or below it where money came back.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from budget_app.items import CategorySpending

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Span:
    """A part of the room, from `start`, `length` long; both from 0 to 100."""

    start: float
    length: float


@dataclass(frozen=True, slots=True)
class Scale:
    """The amounts from `low`, at most zero, to `high`, at least zero, laid out from 0 to 100."""

    low: Decimal
    high: Decimal

    def place(self, amount: Decimal) -> float:
        """Where an amount lies; without any amounts, everything lies at 0."""
        room = self.high - self.low
        return float((amount - self.low) / room * 100) if room else 0.0

    def span(self, one: Decimal, other: Decimal) -> Span:
        """The part between two amounts, whichever is larger."""
        start, end = sorted((self.place(one), self.place(other)))
        return Span(round(start, 3), round(end - start, 3))

    @property
    def zero(self) -> float:
        """Where the bars begin."""
        return round(self.place(_ZERO), 3)


def make_scale(amounts: Iterable[Decimal]) -> Scale:
    """The scale that has room for all of these, and for zero."""
    every = (_ZERO, *amounts)
    return Scale(min(every), max(every))


@dataclass(frozen=True, slots=True)
class CategoryBar:
    """What one category has cost, as two parts: `within` its budget, or without one, and `beyond` it.

    `mark` is where the budget lies. `left` is what it leaves, below zero if it is spent and more; None without one.
    """

    spending: CategorySpending
    within: Span
    beyond: Span | None
    mark: float | None
    left: Decimal | None


def draw_categories(categories: Sequence[CategorySpending]) -> tuple[Scale, tuple[CategoryBar, ...]]:
    """A bar for each category, in their order, to be drawn from left to right."""
    budgets = (each.budget for each in categories if each.budget is not None)
    scale = make_scale([*(each.spent for each in categories), *budgets])
    return scale, tuple(_draw_category(each, scale) for each in categories)


def _draw_category(category: CategorySpending, scale: Scale) -> CategoryBar:
    spent, budget = category.spent, category.budget
    if budget is None:
        return CategoryBar(category, scale.span(_ZERO, spent), None, None, None)
    beyond = scale.span(budget, spent) if spent > budget else None
    within = scale.span(_ZERO, min(spent, budget))
    return CategoryBar(category, within, beyond, round(scale.place(budget), 3), budget - spent)


@dataclass(frozen=True, slots=True)
class MonthBar:
    """What one month has cost; `span` goes from the top of the picture down."""

    month: date
    amount: Decimal
    span: Span


def draw_months(months: Sequence[tuple[date, Decimal]]) -> tuple[Scale, tuple[MonthBar, ...]]:
    """A bar for each month, standing on zero, or hanging from it where more came back than was spent."""
    scale = make_scale(amount for _, amount in months)
    return scale, tuple(MonthBar(month, amount, _hang(scale.span(_ZERO, amount))) for month, amount in months)


def _hang(span: Span) -> Span:
    """The same part counted from the top, as pictures are."""
    return Span(round(100 - span.start - span.length, 3), span.length)
