"""Formulas in the next row, as they are when a person fills them down."""

import pytest

from budget_app.workbooks.workbook import WorkbookError
from budget_app.workbooks.xlsx.formulas import Formula


@pytest.mark.parametrize(
    ("text", "moved"),
    [
        ("B2*2", "B5*2"),
        ("$B$2+B$2+$B2", "$B$2+B$2+$B5"),
        ("SUM(B$2:B2)", "SUM(B$2:B5)"),
        ("Other!A2&'My sheet'!A2", "Other!A5&'My sheet'!A5"),
        ("Expenses[[#This Row],[Amount]]*2", "Expenses[[#This Row],[Amount]]*2"),
        ("SUM(Expenses[A1])", "SUM(Expenses[A1])"),
        ('"B2"&B2', '"B2"&B5'),
        ("Total*A:A", "Total*A:A"),
    ],
)
def test_references_move_along_unless_they_are_fixed(text: str, moved: str) -> None:
    """Those to columns of tables and texts stay."""
    assert Formula(text).move(7, 2, 5).text == moved


def test_a_reference_beyond_the_sheet_is_an_error() -> None:
    """As in Excel."""
    assert Formula("A1").move(1, 5, 2).text == "#REF!"


def test_an_array_formula_stays_one() -> None:
    """With the area of its own cell, and what kind it is."""
    inside, content = Formula("SUM(B2:C2*2)", array=True, metadata="1").write(7, 3, b"")
    assert (inside, content) == (b' cm="1"', b'<f t="array" ref="G3">SUM(B2:C2*2)</f>')


def test_a_formula_that_cannot_be_taken_apart_is_carried_on_if_nothing_in_it_can_move() -> None:
    """Otherwise it is refused; a wrong reference would be a wrong sum."""
    assert Formula("Costs[[#This Row]").move(7, 2, 5).text == "Costs[[#This Row]"
    with pytest.raises(WorkbookError, match="G2"):
        Formula("Costs[[#This Row]+B2").move(7, 2, 5)
