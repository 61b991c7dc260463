"""XML: what may be trusted, and text on its way in and out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budget_app.workbooks.workbook import WorkbookError
from budget_app.workbooks.xlsx.markup import (
    Edit,
    escape_string,
    find_elements,
    read_attributes,
    read_part,
    read_string,
    read_text,
    set_attributes,
    splice,
)

from .parts import MAIN

HEAD = f'<worksheet xmlns="{MAIN}">'.encode()

REFUSED = {
    "document type": b'<!DOCTYPE worksheet [<!ENTITY a "aaaa">]>' + HEAD + b"&a;</worksheet>",
    "comments": HEAD + b"<sheetData/><!-- <row/> --></worksheet>",
    "CDATA": HEAD + b"<t><![CDATA[<row>]]></t></worksheet>",
    "processing instructions": HEAD + b"<?php ?></worksheet>",
    "UTF-16": HEAD.decode().encode("utf-16"),
    "iso-8859-1": b'<?xml version="1.0" encoding="iso-8859-1"?>' + HEAD + b"</worksheet>",
    "namespaces that change": HEAD + b'<ext xmlns="urn:x"><row/></ext></worksheet>',
    "namespaces that change, again": HEAD + f'<y:row xmlns:y="{MAIN}"/></worksheet>'.encode(),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_no_spreadsheet_program_writes_is_refused(kind: str) -> None:
    """Patterns would not see through it; and entities are bombs."""
    with pytest.raises(WorkbookError, match="does not know"):
        read_part(REFUSED[kind], "worksheet")


@pytest.mark.parametrize("data", [b"", HEAD, HEAD + b"<row></worksheet>", b"<a/>", b"\0\1", HEAD + b"\xff</worksheet>"])
def test_what_is_no_such_part_is_refused(data: bytes) -> None:
    """Closed by default."""
    with pytest.raises(WorkbookError, match="damaged"):
        read_part(data, "worksheet")


def test_strict_open_xml_is_refused_with_the_cure() -> None:
    """It has other namespaces, and days as texts."""
    with pytest.raises(WorkbookError, match="Strict"):
        read_part(b'<worksheet xmlns="http://purl.oclc.org/ooxml/spreadsheetml/main"/>', "worksheet")


def test_extensions_bring_namespaces_of_their_own() -> None:
    """As Excel writes them; the main one keeps its meaning."""
    data = HEAD + b'<extLst><ext xmlns:x14="urn:x14" uri="{1}"><x14:row/></ext></extLst></worksheet>'
    assert read_part(data, "worksheet").prefix == b""


def test_brackets_in_attributes_are_no_tags() -> None:
    """`>` is allowed there."""
    data = b"""<a><c r="A1" x='">"'/><c r='B1' y=">/">1</c><cx/></a>"""
    assert [read_attributes(each.inside)[b"r"] for each in find_elements(data, b"c")] == ["A1", "B1"]


def test_an_attribute_is_changed_in_its_place() -> None:
    """Others keep theirs, and a new one comes behind."""
    inside = b' r="A1" s = \'3\' t="s"'
    assert set_attributes(inside, {b"s": "4", b"t": None, b"n": '"<'}) == b' r="A1" s="4" n="&quot;&lt;"'


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_string_of_a_cell_comes_back(text: str) -> None:
    """Characters that XML cannot hold and texts that look like them included."""
    assert read_string(read_text(escape_string(text))) == text


def test_edits_are_made_at_once() -> None:
    """Their places are those of the old text."""
    assert splice(b"0123456789", [Edit(8, 9, b"eight"), Edit(0, 0, b"+"), Edit(2, 5, b"")]) == b"+01567eight9"
