"""policy.paths: which path a request means, whose it is, and what is refused because it could mean two things."""

import sys
import unicodedata
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.policy.paths import (
    LONGEST_UNICODE,
    PLAIN,
    UNCLEAR_PATH,
    AmbiguousPath,
    Paths,
    PathTable,
    find_doubt,
    find_path,
    fold,
    parse_path_pattern,
    require_clear,
)


def make_paths(*patterns: str) -> Paths[str]:
    return Paths([PathTable([(parse_path_pattern(text), text) for text in patterns])])


def find_part(path: str, **more: Any) -> str:
    return find_path({"type": "http", "path": path, "root_path": "", **more})


# --- find_path --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "root", "expected"),
    [
        ("/x", "", "/x"),
        ("/", "", "/"),
        # A server that puts the prefix into the path, and one that does not.
        ("/api/x", "/api", "/api/x"),
        ("/x", "/api", "/api/x"),
        # The prefix itself: the router sees an empty path.
        ("/api", "/api", "/api"),
        ("/api/", "/api", "/api/"),
        ("/api/api/x", "/api", "/api/api/x"),
        # A prefix with a slash behind it, as uvicorn and gunicorn take it.
        ("/api//x", "/api/", "/api/x"),
        ("/x", "/", "/x"),
        ("/x", None, "/x"),
        # Mounts within mounts.
        ("/api/v1/in/x", "/api/v1/in", "/api/v1/in/x"),
    ],
)
def test_the_judged_path_is_the_prefix_and_what_the_router_sees(path: str, root: str | None, expected: str) -> None:
    """The same on every server, whatever it does with the prefix."""
    assert find_part(path, root_path=root) == expected


def test_what_is_judged_is_what_starlette_routes() -> None:
    """With a prefix fixed, two requests are judged as one path only if the router sees one path."""
    from starlette._utils import get_route_path

    for path in ("/x", "/api", "/api/", "/api/x", "/api/api", "/x/api/y", "/ap/x"):
        scope = {"type": "http", "path": path, "root_path": "/api"}
        assert find_path(scope) == "/api" + get_route_path(scope)


@pytest.mark.parametrize("path", ["/apiadmin", "/api-admin/x", "/api%2Fx"])
def test_a_prefix_that_ends_inside_a_segment_is_ambiguous(path: str) -> None:
    """Django and Quart take it off there and route `admin`, Starlette routes the whole path."""
    with pytest.raises(AmbiguousPath, match="same segment"):
        find_part(path, root_path="/api")


def test_a_word_of_the_skin_makes_a_path_ambiguous() -> None:
    """Where a header can have moved the prefix, nobody knows what the app will be asked for."""
    with pytest.raises(AmbiguousPath, match="a client can write SCRIPT_NAME"):
        find_part("/x", extensions={UNCLEAR_PATH: "a client can write SCRIPT_NAME"})
    assert find_part("/x", extensions=None) == "/x"


@pytest.mark.parametrize(
    "raw", [b"/a%2Fb", b"/a%2fb", b"/a%5Cb", b"/a%5cb", b"/%2E%2e/b", b"/a%2eb", b"/a%00", b"/a%2541", b"/a%252f"]
)
def test_characters_in_disguise_are_ambiguous(raw: bytes) -> None:
    """A proxy in front judges them encoded and the app decoded, so they say different things to each."""
    with pytest.raises(AmbiguousPath, match="in disguise"):
        find_part("/whatever", raw_path=raw)


@pytest.mark.parametrize("raw", [None, b"", b"/a%20b", b"/caf%C3%A9", b"/100%25", b"/100%25/x", b"/%61"])
def test_other_percent_encodings_are_not(raw: bytes | None) -> None:
    """Names have spaces and accents."""
    assert find_part("/whatever", raw_path=raw) == "/whatever"


# --- What could be read in two ways -----------------------------------------------------------------------------------

UNCLEAR = [
    ("", "no slash"),
    ("*", "no slash"),
    ("admin", "no slash"),
    ("//", "two slashes"),
    ("//admin", "two slashes"),
    ("/x//", "two slashes"),
    ("/.", "dots"),
    ("/./x", "dots"),
    ("/..", "dots"),
    ("/x/../admin", "dots"),
    ("/x/...", "dots"),
    ("/x/.. /admin", "dots"),
    ("/x/..?y", "dots"),
    ("/x/.#y", "dots"),
    ("/admin;x=1", "semicolon"),
    ("/x/..;/admin", "semicolon"),
    ("/x\\admin", "backslash"),
    ("/\\admin", "backslash"),
    ("/admin\n", "control"),
    ("/admin\x00", "control"),
    ("/admin\x7f", "control"),
    ("/admin\x85", "control"),
    ("/admin\N{LINE SEPARATOR}", "control"),
    ("/adm\N{REPLACEMENT CHARACTER}n", "control"),
    ("/adm\ud800n", "control"),
    ("/%61dmin", "percent-encoding"),
    ("/x%2fy", "percent-encoding"),
    ("/x\N{FULLWIDTH PERCENT SIGN}2fy", "percent-encoding"),
    ("/admin::$INDEX_ALLOCATION/x", "stream"),
    ("/x\N{FULLWIDTH SOLIDUS}admin", "becomes a slash"),
    ("/x\N{ACCOUNT OF}", "becomes a slash"),
    ("/x\N{FULLWIDTH REVERSE SOLIDUS}admin", "backslash"),
    ("/x\N{GREEK QUESTION MARK}y", "semicolon"),
    ("/x/\N{FULLWIDTH FULL STOP}\N{ONE DOT LEADER}/admin", "dots"),
    ("/x/\N{TWO DOT LEADER}/admin", "dots"),
    ("/x/.\N{ZERO WIDTH JOINER}./admin", "dots"),
    ("/é" + "x" * LONGEST_UNICODE, "characters"),
]


@pytest.mark.parametrize(("path", "word"), UNCLEAR)
def test_a_path_that_could_mean_two_things_is_refused(path: str, word: str) -> None:
    """The message says which part of it, and shows the path in printable ASCII or as Python writes it."""
    with pytest.raises(AmbiguousPath) as caught:
        make_paths("/", "/admin").find(path)
    assert word in caught.value.message
    assert caught.value.message.isprintable()
    assert caught.value.hint


CLEAR = [
    "/",
    "/x/",
    "/.well-known/acme",
    "/x/.hidden",
    "/a.b..c",
    "/..x",
    "/x y",
    "/café",
    "/100%",
    "/100%/x",
    "/wiki/Talk:Main",
    "/@rhea/$1,000+(tax)",
    "/wiki/What?",
    "/日本語/…x",
    "/👩\N{ZERO WIDTH JOINER}💻",
]


@pytest.mark.parametrize("path", CLEAR)
def test_a_path_with_one_meaning_is_taken_as_it_is(path: str) -> None:
    """Whatever people name their pages."""
    require_clear(path)
    assert make_paths("/", "/admin").find(path) == "/"


@pytest.mark.parametrize(
    "path",
    [
        "/Admin",
        "/ADMIN/users",
        # upper() makes it ADMIN.
        "/adm\N{LATIN SMALL LETTER DOTLESS I}n",
        "/\N{FULLWIDTH LATIN SMALL LETTER A}dmin",
        "/ad\N{SOFT HYPHEN}min",
        "/admin\N{ZERO WIDTH NON-JOINER}",
        "/admin.",
        "/admin /users",
        "/admin. .",
        "/admin?x",
        "/admin#x",
        "/admin\N{FULLWIDTH QUESTION MARK}x",
    ],
)
def test_a_path_that_a_careless_reader_takes_for_another_applications_is_refused(path: str) -> None:
    """A file system without letter case, or an app behind the app, would serve the other one's."""
    with pytest.raises(AmbiguousPath, match="another application's"):
        make_paths("/", "/admin").find(path)


def test_letter_case_matters_where_a_pattern_has_it() -> None:
    """The pattern's own spelling is its own; any other is ambiguous, and never the rest's."""
    paths = make_paths("/", "/Admin")
    assert paths.find("/Admin/x") == "/Admin"
    for spelling in ("/admin/x", "/ADMIN"):
        with pytest.raises(AmbiguousPath):
            paths.find(spelling)


def test_letter_case_is_free_within_one_application() -> None:
    """Only a difference between applications is refused."""
    paths = make_paths("/", "/admin", "/admin/Reports")
    assert paths.find("/Wiki/MainPage") == "/"
    assert paths.find("/admin/Users/RHEA") == "/admin"
    assert paths.find("/admin/Reports/2026") == "/admin/Reports"


def test_an_unknown_path_is_ambiguous_if_a_careless_reader_knows_it() -> None:
    """Refused either way; the reason says that it was close."""
    with pytest.raises(AmbiguousPath):
        make_paths("/admin", "/x").find("/ADMIN")
    assert make_paths("/admin", "/x").find("/else") is None


@pytest.mark.parametrize("path", ["/items/07", "/items/7.0", "/items/007.00/edit"])
def test_a_number_has_one_spelling(path: str) -> None:
    """Starlette's int and float convertors take any of them."""
    with pytest.raises(AmbiguousPath):
        make_paths("/", "/items/7").find(path)
    assert make_paths("/", "/items/7").find("/items/70") == "/"


UUID = "123e4567-e89b-12d3-a456-426614174000"


@pytest.mark.parametrize("spelling", [UUID.replace("-", ""), UUID.upper(), UUID.replace("-", "", 1)])
def test_a_uuid_has_one_spelling(spelling: str) -> None:
    """Starlette's uuid convertor takes them with hyphens and without."""
    for written, other in ((UUID, spelling), (spelling, UUID)):
        paths = make_paths("/", f"/devices/{written}")
        assert paths.find(f"/devices/{written}") == f"/devices/{written}"
        with pytest.raises(AmbiguousPath):
            paths.find(f"/devices/{other}")


def test_one_application_for_all_paths_never_looks_at_one() -> None:
    """What has one meaning for the policies is the app's own business."""
    paths = make_paths("/")
    assert paths.whole == "/"
    assert paths.find("/x/../..;/\x00") == "/"


def test_a_single_application_of_some_paths_looks_at_each() -> None:
    """Beside it there is what belongs to nobody."""
    paths = make_paths("/admin")
    assert paths.whole is None
    with pytest.raises(AmbiguousPath):
        paths.find("/admin//x")


# --- fold -------------------------------------------------------------------------------------------------------------

NASTY = st.text(
    st.sampled_from(
        "/aAzZ09.-_ ~%;:?#\u0301\u00ad\u200d\u00e9\u00df"
        "\N{LATIN SMALL LETTER DOTLESS I}\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}\N{LATIN SMALL LETTER LONG S}"
        "\N{KELVIN SIGN}\N{LATIN SMALL LIGATURE FI}\N{FULLWIDTH FULL STOP}\N{FULLWIDTH SOLIDUS}"
    ),
    max_size=12,
).map("/".__add__)


@given(NASTY | st.text(max_size=12).map("/".__add__))
def test_folding_ignores_letter_case_and_unicode_forms(path: str) -> None:
    """Any of a path's usual spellings folds to the same text, which can itself be read in one way only."""
    if find_doubt(path) is not None:
        return
    for form in ("NFC", "NFD", "NFKC"):
        assert fold(unicodedata.normalize(form, path)) == fold(path)
    if path.isascii():
        assert fold(path.upper()) == fold(path.lower()) == fold(path)
    assert find_doubt(fold(path)) is None


def test_no_character_folds_to_something_unclear() -> None:
    """Not one of Unicode's, before, behind and between others."""
    for number in range(sys.maxunicode + 1):
        sign = chr(number)
        if unicodedata.normalize("NFKC", sign.upper().casefold()) != sign:
            for path in (f"/{sign}", f"/a{sign}b/c"):
                assert find_doubt(path) or not find_doubt(fold(path)), ascii(path)


@given(NASTY | st.from_regex(r"/[a-z0-9_./-]{0,40}", fullmatch=True))
def test_a_plain_path_is_clear_and_folds_to_itself(path: str) -> None:
    """So the short cut for such paths leaves nothing out."""
    if PLAIN.fullmatch(path):
        assert find_doubt(path) is None
        assert fold(path) == path


@pytest.mark.parametrize("path", ["/", "/x", "/x/", "/app7/users/profile.html", "/a-b_c/0/17/v1.2", "/static/"])
def test_most_paths_are_plain(path: str) -> None:
    """Otherwise there would be no short cut."""
    assert PLAIN.fullmatch(path)


@pytest.mark.parametrize("path", ["", "x", "//", "/.", "/x//", "/007", "/A", "/x.", f"/{'a' * 32}", "/x\n", "/x\n/"])
def test_others_are_not(path: str) -> None:
    """They are looked at in full."""
    assert not PLAIN.fullmatch(path)


def _is_pattern(text: str) -> bool:
    try:
        return parse_path_pattern(text) != "/*"
    except Exception:  # noqa: BLE001 - whatever it is, it is no pattern
        return False


# --- PathTable --------------------------------------------------------------------------------------------------------


def reads_as(pattern: str, path: str) -> bool:
    """A slow and separate reading of what a pattern covers: try every length for every star."""
    if not pattern:
        return not path or path.startswith("/")
    if pattern == "*":
        return True
    if pattern[0] == "*":
        return any(reads_as(pattern[1:], path[at:]) for at in range(len(path) + 1))
    return path[:1] == pattern[0] and reads_as(pattern[1:], path[1:])


SEGMENT = st.text(st.sampled_from("ab"), min_size=1, max_size=3)
PATH = st.lists(SEGMENT, max_size=5).map(lambda each: "/" + "/".join(each))
PATTERN = st.builds(
    lambda segments, end: "/" + "/".join(segments) + end,
    st.lists(
        st.builds(
            lambda head, star, tail: head + star + tail, SEGMENT, st.sampled_from(["", "*"]), SEGMENT | st.just("")
        ),
        max_size=3,
    ),
    st.sampled_from(["", "*", "/", "/*"]),
).filter(_is_pattern)


@given(st.lists(PATTERN, min_size=1, max_size=8, unique_by=parse_path_pattern), PATH)
def test_the_index_finds_what_a_slow_reading_finds(patterns: list[str], path: str) -> None:
    """For any patterns and any path, the best of all that cover it."""
    table = PathTable([(parse_path_pattern(text), text) for text in patterns])
    covering = [text for text in patterns if reads_as(parse_path_pattern(text), path)]

    def weigh(text: str) -> tuple[int, int]:
        pattern = parse_path_pattern(text)
        return len(pattern.replace("*", "")), len(pattern.partition("*")[0])

    # max() takes the first of several that are worth the same.
    expected = max(covering, key=weigh, default=None)
    rank = table.written.find(path)
    assert (table.values[rank] if rank < len(patterns) else None) == expected


class Counted(str):
    """A path that counts the characters that are looked at in searches for a text."""

    __slots__ = ("looks",)

    def find(self, *arguments: Any) -> int:
        start = arguments[1] if len(arguments) > 1 else 0
        found = super().find(*arguments)
        self.looks = getattr(self, "looks", 0) + (len(self) if found < 0 else found) - start + 1
        return found


def count_looks(patterns: Sequence[str], path: str) -> int:
    counted = Counted(path)
    PathTable([(parse_path_pattern(text), text) for text in patterns]).written.find(counted)
    return counted.looks


@pytest.mark.parametrize("piece", ["a/", "*", "a/b/", "b/a/", "/a", "x", "ab/ab/"], ids=lambda piece: f"of {piece}")
def test_a_pattern_with_many_wildcards_reads_a_hostile_path_a_few_times(piece: str) -> None:
    """Each text behind a wildcard is looked for once, never again from another place: no backtracking."""
    pattern = "/*" + "/a*/b*" * 100 + "/x"
    path = "/" + piece * (8192 // len(piece))
    assert count_looks([pattern], path) <= 4 * len(path)
    assert count_looks([pattern], path + "x") <= 4 * len(path)


def test_a_deep_path_is_left_at_the_first_prefix_that_nobody_names() -> None:
    """The work is bounded by the patterns, not by the path."""
    assert count_looks(["/", "/a/b", "/app"], "/a" * 4096) < 100


def test_a_thousand_applications_are_searched_like_one() -> None:
    """The same searches, and the same answers."""
    for make in ("/app{}", "/app{}*", "/*/app{}", "/x*/app{}/y*"):
        patterns = [make.format(number) for number in range(1000)]
        path = "/xapp/app7/y/z" if make[1] in "*x" else "/app7/x/y/z"
        assert count_looks(["/", *patterns], path) == count_looks(["/", make.format(7)], path)
        assert make_paths("/", *patterns).find(path) == make.format(7)
