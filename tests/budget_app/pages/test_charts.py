"""Bars are as long as their amounts, whatever the amounts are."""

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budget_app.items import CategorySpending
from budget_app.pages.charts import Span, draw_categories, draw_months, make_scale

from .samples import make_bare_spending, make_odd_spending, make_spending

AMOUNTS = st.decimals(-(10**12), 10**12, places=2)
MONTH = date(2026, 11, 1)


def spend(spent: str, budget: str | None = None) -> CategorySpending:
    return CategorySpending("x", Decimal(spent), None if budget is None else Decimal(budget))


@given(st.lists(AMOUNTS, max_size=20), AMOUNTS)
def test_lengths_are_proportional(others: list[Decimal], amount: Decimal) -> None:
    """The length of a bar to all the room is as its amount to the distance from the lowest to the highest."""
    scale = make_scale([*others, amount])
    room = scale.high - scale.low
    expected = float(abs(amount) / room * 100) if room else 0
    assert scale.span(Decimal(0), amount).length == pytest.approx(expected, abs=0.002)


@given(st.lists(st.tuples(AMOUNTS, st.none() | st.decimals(0, 10**9, places=2)), max_size=20))
def test_nothing_leaves_the_picture(amounts: list[tuple[Decimal, Decimal | None]]) -> None:
    """Every part of every bar, and every mark, lies from 0 to 100."""
    scale, bars = draw_categories([CategorySpending("x", *each) for each in amounts])
    spans = [span for bar in bars for span in (bar.within, bar.beyond) if span is not None]
    places = [scale.zero, *(bar.mark for bar in bars if bar.mark is not None)]
    places += [place for span in spans for place in (span.start, span.start + span.length, span.length)]
    assert all(-0.001 <= place <= 100.002 for place in places)


def test_a_bar_within_its_budget_has_one_part_and_a_mark() -> None:
    """Half of the budget is half of the way to the mark."""
    _, (half, full) = draw_categories([spend("50", "100"), spend("200")])
    assert (half.within, half.beyond, half.mark, half.left) == (Span(0, 25), None, 50, Decimal(50))
    assert (full.within, full.beyond, full.mark, full.left) == (Span(0, 100), None, None, None)


def test_what_is_over_the_budget_is_a_part_of_its_own() -> None:
    """The bar changes its pattern where the budget ends."""
    _, (bar,) = draw_categories([spend("125", "100")])
    assert (bar.within, bar.beyond, bar.mark, bar.left) == (Span(0, 80), Span(80, 20), 80, Decimal(-25))


def test_a_budget_of_nothing_is_over_at_once() -> None:
    """With a budget of zero the whole bar is beyond it; with nothing spent there is none."""
    _, (spent, unspent) = draw_categories([spend("10", "0"), spend("0", "0")])
    assert (spent.within, spent.beyond, spent.left) == (Span(0, 0), Span(0, 100), Decimal(-10))
    assert (unspent.within, unspent.beyond, unspent.left) == (Span(0, 0), None, Decimal(0))


def test_money_that_came_back_goes_the_other_way() -> None:
    """A refund is drawn from zero to the left, and zero moves to make room for it."""
    scale, (refund, cost) = draw_categories([spend("-25"), spend("75", "50")])
    assert scale.zero == 25
    assert refund.within == Span(0, 25)
    assert (cost.within, cost.beyond, cost.mark) == (Span(25, 50), Span(75, 25), 75)


def test_months_stand_on_zero_or_hang_from_it() -> None:
    """In a picture from the top down, a month that cost something ends at zero, and a refunded one begins there."""
    scale, (cost, back, nothing) = draw_months([(MONTH, Decimal(75)), (MONTH, Decimal(-25)), (MONTH, Decimal(0))])
    assert scale.zero == 25
    assert (cost.span, back.span, nothing.span) == (Span(0, 75), Span(75, 25), Span(75, 0))


def test_a_year_without_anything_has_no_bars() -> None:
    """Where nothing was spent, nothing is drawn, and nothing is divided by zero."""
    _, categories = draw_categories(make_bare_spending().categories)
    _, months = draw_months(make_bare_spending().months)
    assert {bar.within.length for bar in categories} | {bar.span.length for bar in months} == {0}


def test_one_giant_leaves_room_for_itself_alone() -> None:
    """An amount of three hundred digits takes all the room, and the others have a length that rounds to nothing."""
    _, categories = draw_categories(make_odd_spending().categories)
    _, months = draw_months(make_odd_spending().months)
    assert [bar.span.length for bar in months] == [*[0] * 11, 100]
    assert categories[0].beyond == Span(9.091, 90.909)


def test_the_largest_of_a_month_is_as_wide_as_the_picture() -> None:
    """The room is all used: by a cost, or by the budget that was left."""
    scale, bars = draw_categories(make_spending().categories)
    assert (scale.low, scale.high) == (Decimal("-24.90"), Decimal(900))
    assert max(bar.mark or 0 for bar in bars) == 100
