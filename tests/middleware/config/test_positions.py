"""Where in a configuration something stands."""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.config.positions import DEEPEST, find_line, find_lines

ROOT = Path(__file__).parents[3]
Place = tuple[str | int, ...]

ACCESS = '''# The keys of the house.
[source]
kind = "tls"

[[applications]]
name = "Budget"   # [[applications]] in a comment is none
domain = "money.example.com"

[[applications.policies]]
name = """
Two
lines"""
include = [
    { common_name = { common_name = "Rhea Group" } },
    # a comment, with a bracket ]
    { ip = { ip = "192.0.2.0/24" } }, { everyone = {} },
]

[[applications.policies]]
"decision" = 'deny'
rules.'of.thumb'."and \\u0078" = 1

[[applications]]
name = 'C:\\'
  [applications.more]
  deep = [[1, 2], [
    3]]
'''

KNOWN = {
    ("source",): 2,
    ("source", "kind"): 3,
    ("applications",): 5,
    ("applications", 0): 5,
    ("applications", 0, "name"): 6,
    ("applications", 0, "domain"): 7,
    ("applications", 0, "policies"): 9,
    ("applications", 0, "policies", 0): 9,
    ("applications", 0, "policies", 0, "name"): 10,
    ("applications", 0, "policies", 0, "include"): 13,
    ("applications", 0, "policies", 0, "include", 0): 14,
    ("applications", 0, "policies", 0, "include", 0, "common_name"): 14,
    ("applications", 0, "policies", 0, "include", 0, "common_name", "common_name"): 14,
    ("applications", 0, "policies", 0, "include", 1): 16,
    ("applications", 0, "policies", 0, "include", 1, "ip"): 16,
    ("applications", 0, "policies", 0, "include", 1, "ip", "ip"): 16,
    ("applications", 0, "policies", 0, "include", 2): 16,
    ("applications", 0, "policies", 0, "include", 2, "everyone"): 16,
    ("applications", 0, "policies", 1): 19,
    ("applications", 0, "policies", 1, "decision"): 20,
    ("applications", 0, "policies", 1, "rules"): 21,
    ("applications", 0, "policies", 1, "rules", "of.thumb"): 21,
    ("applications", 0, "policies", 1, "rules", "of.thumb", "and x"): 21,
    ("applications", 1): 23,
    ("applications", 1, "name"): 24,
    ("applications", 1, "more"): 25,
    ("applications", 1, "more", "deep"): 26,
    ("applications", 1, "more", "deep", 0): 26,
    ("applications", 1, "more", "deep", 0, 0): 26,
    ("applications", 1, "more", "deep", 0, 1): 26,
    ("applications", 1, "more", "deep", 1): 26,
    ("applications", 1, "more", "deep", 1, 0): 27,
}


def paths_of(value: object, path: Place = ()) -> Iterator[tuple[Place, object]]:
    """Every key and list item below `path`, with what stands there."""
    below: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for part, each in below:
        yield (*path, part), each
        yield from paths_of(each, (*path, part))


def test_every_key_and_item_of_a_configuration_has_its_line() -> None:
    """Tables, arrays of tables, dotted and quoted keys, inline tables, lists over several lines, texts, comments."""
    assert dict(find_lines(ACCESS, "toml")) == KNOWN
    assert {path for path, _ in paths_of(tomllib.loads(ACCESS))} == set(KNOWN)


@pytest.mark.parametrize(
    "text",
    [
        '"""a"""',
        '"""a\n"""""',
        '"""a\\"""\n"""',
        '"""a""\n#\n"""',
        "'''\n'a''\n'''''",
        "'''\\\n'''",
        '"\\\\"',
        '"a # b ] } = \\" \\\\"',
        "'a # \" ] } = \\'",
        '""',
        "''",
        '""""""',
        "1979-05-27 07:32:00Z",
        "-1_000.5e+3",
        "true",
        "[ ]",
        "{ }",
        "[\n\"a\", # ]\n'b',\n]",
        '{ a.b = "}", "c" = { d = [1, {}] } }',
        '{ "" = 1 }',
    ],
)
def test_what_follows_a_value_is_found_on_its_own_line(text: str) -> None:
    """No value ends too early or too late, whatever it holds."""
    document = f"before = 0\nvalue = {text}\nafter = 1\n"
    assert set(tomllib.loads(document)) == {"before", "value", "after"}
    lines = find_lines(document, "toml")
    assert (lines[("value",)], lines[("after",)]) == (2, 3 + text.count("\n"))
    assert {path for path, _ in paths_of(tomllib.loads(document))} == set(lines)


def test_a_table_is_found_where_its_own_header_stands() -> None:
    """A table below it, which may come first, is not taken for it; a dotted key is, where there is no header."""
    lines = find_lines("[a.b]\n[a]\nc.d = 1\nc.e = 2\n", "toml")
    assert lines == {("a",): 2, ("a", "b"): 1, ("a", "c"): 3, ("a", "c", "d"): 3, ("a", "c", "e"): 4}


def test_lines_that_end_as_on_windows_count_once() -> None:
    """CR LF is one end of a line."""
    assert find_lines("a = 1\r\n\r\n[b]\r\nc = [\r\n1]\r\n", "toml")[("b", "c", 0)] == 5
    assert find_lines('{\r\n"a": [\r\n1]}', "json")[("a", 0)] == 3


def test_json_has_lines_too() -> None:
    """An export from an API, for instance, with its escapes, and a list around it."""
    text = '[{"id": "a,]}\\"",\n "p\\u0061th": {"x":\n [null, -1.5e3,\n  []]}}\n,\n{}]'
    assert {path for path, _ in paths_of(json.loads(text))} == set(find_lines(text, "json"))
    assert find_lines(text, "json") == {
        (0,): 1,
        (0, "id"): 1,
        (0, "path"): 2,
        (0, "path", "x"): 2,
        (0, "path", "x", 0): 3,
        (0, "path", "x", 1): 3,
        (0, "path", "x", 2): 4,
        (1,): 6,
    }


@pytest.mark.parametrize(
    ("place", "line"),
    [
        (("source", "kind"), 3),
        (("source", "format"), 2),
        (("applications", 0, "policies", 0, "include", 1, "ip", "ip", "function-before"), 16),
        (("applications", 7, "domain"), 5),
        (("audit", "file"), None),
        ((), None),
        ("applications[0].policies[0].include[1].ip", 16),
        ("applications[0].policies[0].session", 9),
        ("nowhere", None),
        ("", None),
    ],
)
def test_what_is_not_there_is_missed_in_what_is_around_it(place: str | Place, line: int | None) -> None:
    """A key that is missing has no line; the table that lacks it has one."""
    assert find_line(find_lines(ACCESS, "toml"), place) == line


def files() -> list[Path]:
    ours = [path for path in ROOT.rglob("*.toml") if not {".venv", ".git", "artefacts"} & set(path.parts)]
    return sorted(ours)


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_of_this_repository_is_read_as_the_parser_reads_it(path: Path) -> None:
    """Every key stands on the line that is given for it, and so does every item of a list that is a plain value."""
    text = path.read_text(encoding="utf-8")
    shown, lines = text.splitlines(), find_lines(text, "toml")
    found = dict(paths_of(tomllib.loads(text)))
    assert set(found) == set(lines)
    for place, value in found.items():
        words = place[-1] if isinstance(place[-1], str) else value
        if isinstance(words, str) and words.isprintable() and '"' not in words and "\\" not in words:
            assert words in shown[lines[place] - 1], place


# The generator writes a document line by line, so that it knows where it has put everything.
KEYS = st.text(min_size=1, max_size=4) | st.sampled_from(["a", "b-c", "1", "x y", "a.b", "#", '"', "'", "\\"])
SCALARS = (
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=6) | st.sampled_from(['"""', "]", "}", "#,="])
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=8
)


class Writer:
    """Writes a value, and notes on which line each part of it begins; `breaks` says where a line may end."""

    def __init__(self, kind: Literal["toml", "json"], breaks: Iterator[bool]) -> None:
        self.kind, self.text, self.lines = kind, "", dict[Place, int]()
        self._breaks = breaks

    def write(self, value: object, path: Place, *, in_table: bool = False) -> None:
        if isinstance(value, dict):
            self._write_all("{", "}", value.items(), path, in_table=in_table or self.kind == "toml")
        elif isinstance(value, list):
            self._write_all("[", "]", enumerate(value), path, in_table=in_table)
        else:
            self.text += self.quote(value)

    def quote(self, value: object) -> str:
        if value is None and self.kind == "toml":
            return "1979-05-27 07:32:00"
        is_plain = isinstance(value, str) and self.kind == "toml" and value.isprintable()
        if is_plain and "'''" not in str(value) and next(self._breaks):
            return f"'''{value}'''"
        return self._quote_escaped(value)

    def note(self, path: Place) -> None:
        self.lines[path] = self.text.count("\n") + 1

    def _write_all(self, opening: str, closing: str, parts: Any, path: Place, *, in_table: bool) -> None:
        self.text += opening
        for number, (part, each) in enumerate(parts):
            self.text += ("," if number else "") + self._space(in_table=in_table)
            self.note((*path, part))
            if opening == "{":
                self.text += self.quote_key(part) + (" = " if self.kind == "toml" else ": ")
            self.write(each, (*path, part), in_table=in_table)
        self.text += self._space(in_table=in_table) + closing

    def quote_key(self, key: str) -> str:
        is_bare = self.kind == "toml" and re.fullmatch(r"[A-Za-z0-9_-]+", key) is not None
        return key if is_bare and next(self._breaks) else self._quote_escaped(key)

    def _quote_escaped(self, value: object) -> str:
        # TOML knows no surrogates, so what is beyond the first plane is written as it is.
        return json.dumps(value, ensure_ascii=self.kind == "json").replace("\x7f", "\\u007f")

    def _space(self, *, in_table: bool) -> str:
        if not next(self._breaks) or (in_table and self.kind == "toml"):
            return " "
        return " # ] } [[x]]\n" if self.kind == "toml" and next(self._breaks) else "\n"


def breaks_of(seed: int) -> Iterator[bool]:
    while True:
        seed = (seed * 1103515245 + 12345) % 2**31
        yield bool(seed & 2**16)


@given(VALUES, st.integers(0, 2**31))
def test_json_is_found_where_it_was_written(value: object, seed: int) -> None:
    """Whatever the document, every path has the line on which it was put."""
    writer = Writer("json", breaks_of(seed))
    writer.write(value, ())
    assert json.loads(writer.text) == value
    assert find_lines(writer.text, "json") == writer.lines


TABLES = st.dictionaries(KEYS, VALUES, max_size=3)
# A header of one or two keys, whether it is an array of tables, and what stands below it.
HEADERS = st.lists(st.tuples(KEYS, st.none() | KEYS, st.booleans(), TABLES), max_size=4)


@given(TABLES, HEADERS, st.integers(0, 2**31))
def test_toml_is_found_where_it_was_written(top: Mapping[str, object], headers: Any, seed: int) -> None:
    """Whatever the document, every path has the line on which it was put."""
    writer = Writer("toml", breaks_of(seed))
    write_keys(writer, top, ())
    sizes: dict[Place, int] = {}
    for first, second, is_array, table in headers:
        write_header(writer, first, second, sizes, is_array=is_array, table=table)
    try:
        document = tomllib.loads(writer.text)
    except tomllib.TOMLDecodeError:
        return  # Two headers that cannot stand in one document.
    assert {path for path, _ in paths_of(document)} == set(writer.lines)
    assert find_lines(writer.text, "toml") == writer.lines


def write_header(
    writer: Writer,
    first: str,
    second: str | None,
    sizes: dict[Place, int],
    *,
    is_array: bool,
    table: Mapping[str, object],
) -> None:
    keys = [writer.quote_key(each) for each in (first, second) if each is not None]
    line = writer.text.count("\n") + 1
    path: Place = (first,)
    if second is not None:
        writer.lines.setdefault(path, line)
        path = (*path, sizes[path] - 1) if path in sizes else path
        path = (*path, second)
    writer.text += ("[[%s]]\n" if is_array else "[ %s ] # [x]\n") % " . ".join(keys)
    if is_array:
        writer.lines.setdefault(path, line)
        sizes[path] = sizes.get(path, 0) + 1
        path = (*path, sizes[path] - 1)
    writer.lines[path] = line
    write_keys(writer, table, path)


def write_keys(writer: Writer, table: Mapping[str, object], path: Place) -> None:
    for key, value in table.items():
        writer.note((*path, key))
        writer.text += writer.quote_key(key) + " = "
        writer.write(value, (*path, key))
        writer.text += "\n"


@given(st.text(alphabet="[]{}\"'\\=:.,# \na1", max_size=40), st.sampled_from(["toml", "json"]))
def test_any_text_comes_to_an_end(text: str, kind: Literal["toml", "json"]) -> None:
    """What no parser would accept is nobody's business here, but it must not hold anybody up."""
    find_lines(text.replace("\\", ""), kind)


def test_depth_costs_no_more_than_length() -> None:
    """However deep it goes, the innermost is said to stand where the last level stands that is counted."""
    text = "[\n" * 500 + "1" + "]" * 500
    lines = find_lines(text, "json")
    assert len(lines) == DEEPEST
    assert find_line(lines, (0,) * 400) == DEEPEST + 1


@pytest.mark.parametrize("unit", ["a = '''\n", 'x = "\\"', "[", "[[a]]\n", "{a=", "# \n", '"a".', "\n" * 9, '"""\\'])
def test_no_text_makes_it_go_over_the_same_ground_again(unit: str) -> None:
    """A long text, made of one thing over and over, is done with at once."""
    find_lines(unit * (300_000 // len(unit)), "toml")
