"""The bodies that are a form of ours, and those that are not."""

import json
from collections.abc import Callable, Iterable
from urllib.parse import urlencode

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.types import Message

from budget_app.forms import FIELDS, MAX_BODY, FormError, read_form

URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=cut"
JSON = "application/json"
DAMAGED = "The form arrived damaged. Open the page again and send it once more."
NO_OBJECT = 'Send one JSON object, such as {"id": "…", "amount": "4.50", "category": "Coffee"}.'


def read(body: bytes | Iterable[bytes], content_type: str | None = URLENCODED) -> dict[str, str]:
    headers = [] if content_type is None else [(b"content-type", content_type.encode())]
    chunks = [body] if isinstance(body, bytes) else list(body)
    messages: list[Message] = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    messages.append({"type": "http.request", "body": b""})
    return read_messages(messages, headers)


def read_messages(messages: list[Message], headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
    async def receive() -> Message:
        return messages.pop(0)

    async def run() -> dict[str, str]:
        return await read_form(Request({"type": "http", "method": "POST", "headers": headers}, receive))

    return anyio.run(run)


def part(name: str, value: bytes, more: str = "") -> bytes:
    return f'--cut\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + value + b"\r\n"


def refusal(body: bytes | Iterable[bytes], content_type: str | None = URLENCODED) -> tuple[int, str]:
    with pytest.raises(FormError) as caught:
        read(body, content_type)
    return caught.value.status, str(caught.value)


def test_a_urlencoded_form_is_read_as_utf8() -> None:
    """What a browser sends from a form."""
    body = b"amount=4%2C50&category=Caf%C3%A9+au+lait&date=&note=%F0%9F%8D%8E"
    assert read(body) == {"amount": "4,50", "category": "Café au lait", "date": "", "note": "🍎"}


def test_text_that_a_program_sent_unescaped_is_read_as_utf8_too() -> None:
    """curl escapes nothing by itself."""
    assert read("note=Café".encode()) == {"note": "Café"}


def test_a_multipart_form_is_read_as_utf8() -> None:
    """What a script sends as FormData."""
    body = part("amount", b"4,50") + part("note", "Café\n".encode()) + b"--cut--\r\n"
    assert read(body, MULTIPART) == {"amount": "4,50", "note": "Café\n"}


def test_an_empty_body_is_a_form_without_fields() -> None:
    """What is missing is told beside each field."""
    assert read(b"") == {}


def test_a_body_may_come_in_pieces() -> None:
    """A phone with bad reception sends a byte at a time."""
    assert read([b"amo", b"unt=", b"", b"4"]) == {"amount": "4"}


@pytest.mark.parametrize(
    "content_type", [None, "", "text/plain", "text/json", "application/problem+json", "multipart/mixed; boundary=cut"]
)
def test_other_content_types_are_refused(content_type: str | None) -> None:
    """Another kind of body is not guessed at."""
    assert refusal(b"amount=4", content_type)[0] == 415


@pytest.mark.parametrize("charset", ["utf-16", "latin-1", "idna", "unicode_escape", "nonsense"])
def test_other_charsets_are_refused(charset: str) -> None:
    """Text in another charset would become other words."""
    assert refusal(b"amount=4", f"{URLENCODED}; charset={charset}")[0] == 415
    assert refusal(part("note", rb"\ud800") + b"--cut--", f"{MULTIPART}; charset={charset}")[0] == 415
    assert refusal(b'{"amount": 4}', f"{JSON}; charset={charset}")[0] == 415


def test_utf8_may_be_named() -> None:
    """Some programs say what holds anyway."""
    assert read(b"amount=4", f"{URLENCODED}; charset=UTF-8") == {"amount": "4"}
    assert read(b'{"amount": 4}', "Application/JSON; charset=UTF-8") == {"amount": "4"}


def test_two_content_types_are_refused() -> None:
    """Nobody knows which of the two is meant."""
    with pytest.raises(FormError) as caught:
        read_messages([], [(b"content-type", URLENCODED.encode())] * 2)
    assert caught.value.status == 415


def test_a_body_of_256_kib_is_read_and_one_byte_more_is_refused() -> None:
    """The limit is exact, in one piece or in several."""
    body = b"note=" + b"a" * (MAX_BODY - 5)
    assert len(read(body)["note"]) == MAX_BODY - 5
    assert refusal(body + b"a")[0] == 413
    assert refusal([body, b"a"])[0] == 413
    assert refusal(b"a" * (MAX_BODY + 1), MULTIPART)[0] == 413
    assert refusal(b" " * (MAX_BODY + 1), JSON)[0] == 413
    assert refusal(body + b"a")[1] == "The form may hold at most 256 KiB. Shorten the note and send it again."


@pytest.mark.parametrize(
    "encode", [lambda note: json.dumps({"note": note}), lambda note: json.dumps({"note": note}, ensure_ascii=False)]
)
def test_a_note_of_10_000_emoji_comes_in_to_be_refused_beside_its_field(encode: Callable[[str], str]) -> None:
    """The limit of the body is far above that of the note, so that the answer is about the note."""
    note = "🍎" * 10_000
    assert read(encode(note).encode(), JSON) == {"note": note}
    assert read(urlencode({"note": note}).encode()) == {"note": note}
    assert read(part("note", note.encode()) + b"--cut--\r\n", MULTIPART) == {"note": note}


def test_an_endless_body_is_not_read_to_its_end() -> None:
    """A body of 50 MB costs no more than one of a megabyte."""

    def endless() -> Iterable[bytes]:
        yield from [b"a" * 65536] * 1000

    read_pieces: list[Message] = [{"type": "http.request", "body": piece, "more_body": True} for piece in endless()]
    with pytest.raises(FormError) as caught:
        read_messages(read_pieces, [(b"content-type", URLENCODED.encode())])
    assert caught.value.status == 413
    assert len(read_pieces) > 980


@pytest.mark.parametrize("body", [b"nothing", b"note=%FF", b"note=\xff", b"note=%ED%A0%80", b"&", b"note=a&&" * 30])
def test_a_damaged_urlencoded_body_is_refused(body: bytes) -> None:
    """What cannot be read whole is not read in parts."""
    assert refusal(body) == (400, DAMAGED)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", MULTIPART),
        (b"--other\r\n", MULTIPART),
        (part("amount", b"4"), MULTIPART),
        (part("amount", b"4") + b"--cut", MULTIPART),
        (part("amount", b"4") + part("note", b"a")[:-9], MULTIPART),
        (b"--cut\r\n\r\n4\r\n--cut--\r\n", MULTIPART),
        (part("amount", b"4") + b"--cut--\r\n", "multipart/form-data"),
        (part("amount", b"4") + b"--cut--\r\n", "multipart/form-data; boundary=" + "b" * 300),
        (part("amount", b"4") * 30 + b"--cut--\r\n", MULTIPART),
    ],
)
def test_a_broken_multipart_body_is_refused(body: bytes, content_type: str) -> None:
    """A form that ends early is no short form."""
    status, message = refusal(body, content_type)
    assert status == 400
    assert "arrived" in message


def test_multipart_text_that_is_not_utf8_is_refused() -> None:
    """It would come in as other words."""
    assert refusal(part("note", b"\xff") + b"--cut--\r\n", MULTIPART)[0] == 400


def test_a_file_is_refused() -> None:
    """There is nowhere to keep one."""
    body = part("note", b"a", '; filename="a.txt"') + b"--cut--\r\n"
    assert refusal(body, MULTIPART) == (400, "The form came with a file, and this page takes none.")


def test_an_unknown_field_is_refused() -> None:
    """A slip in a name is told, and not dropped."""
    assert refusal(b"amount=4&colour=red") == (400, "The form has a field that this page does not know.")


def test_a_repeated_field_is_refused() -> None:
    """One of the two was meant, and nobody knows which."""
    assert refusal(b"amount=4&amount=5") == (400, "The form names “amount” twice.")
    assert refusal(part("note", b"a") * 2 + b"--cut--\r\n", MULTIPART) == (400, "The form names “note” twice.")


def test_a_browser_that_goes_away_is_refused() -> None:
    """Half a form is none."""
    with pytest.raises(FormError, match="cut short"):
        read_messages([{"type": "http.disconnect"}], [(b"content-type", URLENCODED.encode())])


def test_every_field_of_the_page_is_known() -> None:
    """The names are those of the page's inputs."""
    assert {"id", "amount", "refund", "category", "day", "date", "note", "then", "version"} <= FIELDS
    assert read("&".join(f"{name}=x" for name in sorted(FIELDS)).encode()) == dict.fromkeys(FIELDS, "x")


def test_a_json_object_is_a_form() -> None:
    """A program sends the same fields."""
    body = '{"id": "a-1", "amount": "4,50", "category": "Café", "note": "\\ud83c\\udf4e 🍎", "date": "2025-11-23"}'
    fields = {"id": "a-1", "amount": "4,50", "category": "Café", "note": "🍎 🍎", "date": "2025-11-23"}
    assert read(body.encode(), JSON) == fields


@pytest.mark.parametrize(
    ("number", "kept"),
    [
        ("4", "4"),
        ("4.50", "4.50"),
        ("-4.5", "-4.5"),
        ("1e999", "1e999"),
        ("0.1000000000000000055511151231257827", "0.1000000000000000055511151231257827"),
        ("9" * 200, "9" * 200),
        ("9" * 100_000, "9" * 100_000),
        ("NaN", "NaN"),
        ("Infinity", "Infinity"),
        ("-Infinity", "-Infinity"),
    ],
)
def test_a_number_in_json_is_the_text_that_was_written(number: str, kept: str) -> None:
    """No float comes between, so that the amount's own rules say what is wrong with it."""
    assert read(f'{{"amount": {number}}}'.encode(), JSON) == {"amount": kept}


def test_true_in_json_is_a_text_and_false_and_null_are_empty() -> None:
    """JSON's own words mean what they mean to a form."""
    assert read(b'{"refund": true, "note": null, "then": false}', JSON) == {"refund": "true", "note": "", "then": ""}
    assert read(b'{"refund": "", "note": ""}', JSON) == {"refund": "", "note": ""}


def test_an_empty_json_object_is_a_form_without_fields() -> None:
    """What is missing is told beside each field."""
    assert read(b"{}", JSON) == {}
    assert read(b" {} \n", JSON) == {}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"}",
        b'{"amount": 4',
        b'{"amount": 4}}',
        b'{"amount": 4}{"amount": 5}',
        b"{'amount': 4}",
        b'{"amount": 04}',
        b'{"amount": .5}',
        b'{"amount": 4,}',
        b'{"note": "a\nb"}',
        b'{"note": "\xff"}',
        b'{"note": "\xed\xa0\x80"}',
        b'\xef\xbb\xbf{"amount": 4}',
        '{"amount": 4}'.encode("utf-16"),
        b"[" * 100_000,
        b'{"note":' * 30_000,
        b'{"note":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b"amount=4",
    ],
    ids=lambda body: ascii(body[:20]),
)
def test_a_damaged_json_body_is_refused(body: bytes) -> None:
    """However deep it goes."""
    assert refusal(body, JSON) == (400, DAMAGED)


@pytest.mark.parametrize(
    "body", [b"[]", b"4", b"null", b"true", b"NaN", b'"amount"', b'[{"amount": 4}]', b'[["amount", "4"]]']
)
def test_json_that_is_no_object_is_refused(body: bytes) -> None:
    """The answer shows what one looks like."""
    assert refusal(body, JSON) == (400, NO_OBJECT)


@pytest.mark.parametrize("value", [b"[]", b"[4]", b"{}", b'{"amount": 4}', b"[[]]"])
def test_a_field_that_is_a_list_or_an_object_is_refused(value: bytes) -> None:
    """Also an empty one: nothing says what was meant."""
    assert refusal(b'{"amount": 4, "note": ' + value + b"}", JSON) == (400, NO_OBJECT)


@pytest.mark.parametrize(
    "body", [rb'{"note": "\ud800"}', rb'{"note": "a\udf4e\ud83c"}', rb'{"back": "\udfff"}'], ids=ascii
)
def test_half_a_character_in_json_is_refused(body: bytes) -> None:
    """No page could show it again: it is no text, and refused as it is in the other kinds of form."""
    assert refusal(body, JSON) == (400, DAMAGED)


@pytest.mark.parametrize("other", [b'"5"', b"5", b"null", b"false", b"true"])
def test_a_name_that_comes_twice_in_json_is_refused(other: bytes) -> None:
    """Whatever its values are: one of the two was meant, and nobody knows which."""
    repeated = (400, "The form names “amount” twice.")
    assert refusal(b'{"amount": "4", "amount": ' + other + b"}", JSON) == repeated
    assert refusal(b'{"amount": ' + other + b', "note": "", "amount": "4"}', JSON) == repeated


@pytest.mark.parametrize("value", [b"4", b'"red"', b"null", b"false"])
def test_an_unknown_name_in_json_is_refused(value: bytes) -> None:
    """Also without a value: a slip in a program's name is told the first time."""
    unknown = (400, "The form has a field that this page does not know.")
    assert refusal(b'{"amount": 4, "colour": ' + value + b"}", JSON) == unknown


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(sorted(FIELDS)) | st.text(), inner),
    )
)
def test_any_json_is_a_form_of_texts_or_refused(document: object) -> None:
    """Nothing else comes out, and nothing else is raised."""
    try:
        fields = read(json.dumps(document).encode(), JSON)
    except FormError as error:
        assert (error.status, "{" in str(error)) == (400, str(error) == NO_OBJECT)
    else:
        assert isinstance(document, dict)
        assert fields.keys() <= FIELDS
        assert all(isinstance(value, str) for value in fields.values())


@given(st.binary(max_size=60), st.sampled_from([URLENCODED, MULTIPART, JSON]))
def test_any_bytes_are_a_form_or_refused(body: bytes, content_type: str) -> None:
    """Nothing that a stranger sends is a fault of the app."""
    try:
        fields = read(body, content_type)
    except FormError as error:
        assert error.status in (400, 413, 415)
        assert str(error).endswith(".")
    else:
        assert fields.keys() <= FIELDS
