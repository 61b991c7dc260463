"""Formats of new cells: the one above where it shows what it should, else the closest one to it."""

import re

import pytest

from budget_app.workbooks.workbook import WorkbookError
from budget_app.workbooks.xlsx.styles import Styles

from .parts import MAIN

CODES = {
    164: "yyyy-mm-dd",
    165: "#,##0.00\\ [$€]",
    166: "[$USD] #,##0.00",
    167: "[$-409]d. mmm",
    168: "[h]:mm",
    169: '"day" 0',
    170: "@",
    171: "[Red]General",
    172: "0.00\\d",
    173: "mm/yy",
}


def make(*formats: str) -> Styles:
    codes = "".join(f'<numFmt numFmtId="{number}" formatCode="{_quote(code)}"/>' for number, code in CODES.items())
    inner = "".join(formats)
    return Styles(
        f'<styleSheet xmlns="{MAIN}"><numFmts count="1">{codes}</numFmts><cellStyleXfs count="1"><xf numFmtId="14"/>'
        f'</cellStyleXfs><cellXfs count="{len(formats)}">{inner}</cellXfs><dxfs><dxf><numFmt numFmtId="165"'
        ' formatCode="yyyy"/></dxf></dxfs></styleSheet>'.encode()
    )


def _quote(code: str) -> str:
    return code.replace('"', "&quot;")


def written(styles: Styles) -> list[str]:
    data = (styles.write() or b"").decode()
    listed = re.search(r'<cellXfs count="(\d+)">(.*)</cellXfs>', data)
    assert listed is not None
    found = re.findall(r"<xf[^>]*/>|<xf.*?</xf>", listed[2])
    assert int(listed[1]) == len(found)
    return found


@pytest.mark.parametrize("number", [14, 22, 164, 167, 173])
def test_a_format_that_shows_days_is_kept_for_days_and_not_for_money(number: int) -> None:
    """Built-in ones and the person's own."""
    styles = make("<xf/>", f'<xf numFmtId="{number}"/>')
    assert styles.date_style(1) == 1
    assert styles.write() is None
    assert styles.money_style(1) == 2


@pytest.mark.parametrize("number", [0, 2, 4, 44, 165, 166, 169, 171, 172])
def test_a_format_that_shows_numbers_is_kept_for_money_and_not_for_days(number: int) -> None:
    """Letters in quotes, behind backslashes and in brackets are no parts of a day."""
    styles = make(f'<xf numFmtId="{number}"/>')
    assert styles.money_style(0) == 0
    assert styles.date_style(0) == 1
    assert 'numFmtId="14"' in written(styles)[1]


@pytest.mark.parametrize("number", [20 + 29, 46, 168, 170])
def test_times_and_texts_are_neither(number: int) -> None:
    """Money would be shown as hours."""
    styles = make(f'<xf numFmtId="{number}"/>')
    assert (styles.date_style(0), styles.money_style(0)) == (1, 2)


def test_a_new_format_keeps_everything_else_of_the_old_one() -> None:
    """Fonts, borders, colours and protection; and it is made once."""
    styles = make('<xf numFmtId="0" fontId="3" borderId="2"><protection locked="0"/></xf>')
    assert [styles.date_style(0), styles.date_style(0)] == [1, 1]
    assert written(styles)[1] == (
        '<xf numFmtId="14" fontId="3" borderId="2" applyNumberFormat="1"><protection locked="0"/></xf>'
    )


def test_a_format_that_is_there_is_used() -> None:
    """No file grows by a format with each write."""
    again = make("<xf/>", '<xf numFmtId="14" applyNumberFormat="1"/>', '<xf quotePrefix="1"/>')
    assert (again.date_style(0), again.text_style(0, quoted=True)) == (1, 2)
    once = make("<xf/>")
    once.text_style(0, quoted=True)
    data = once.write()
    assert data is not None
    twice = Styles(data)
    assert twice.text_style(0, quoted=True) == 1
    assert twice.text_style(1, quoted=False) == 0
    assert twice.write() is None


def test_a_format_that_is_not_there_is_refused() -> None:
    """The cell that has it is damaged."""
    with pytest.raises(WorkbookError, match="damaged"):
        make("<xf/>").date_style(7)


def test_a_workbook_without_formats_is_refused() -> None:
    """Every program writes at least one."""
    with pytest.raises(WorkbookError, match="damaged"):
        Styles(f'<styleSheet xmlns="{MAIN}"/>'.encode())


@pytest.mark.parametrize("number", ["", "x", "-1", "1.5", "9" * 5000])
def test_a_number_that_is_none_is_refused(number: str) -> None:
    """No other fault comes out."""
    with pytest.raises(WorkbookError, match="damaged"):
        make(f'<xf numFmtId="{number}"/>').date_style(0)
