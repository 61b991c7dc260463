"""The bodies that are a form of ours, and those that are not."""

from collections.abc import Iterable

import anyio
import pytest
from starlette.requests import Request
from starlette.types import Message

from budget_app.forms import MAX_BODY, FormError, read_form

URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=cut"


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
    body = b"amount=4%2C50&category=Caf%C3%A9+au+lait&date=&note=%F0%9F%8D%8E"
    assert read(body) == {"amount": "4,50", "category": "Café au lait", "date": "", "note": "🍎"}


def test_text_that_a_program_sent_unescaped_is_read_as_utf8_too() -> None:
    assert read("note=Café".encode()) == {"note": "Café"}


def test_a_multipart_form_is_read_as_utf8() -> None:
    body = part("amount", b"4,50") + part("note", "Café\n".encode()) + b"--cut--\r\n"
    assert read(body, MULTIPART) == {"amount": "4,50", "note": "Café\n"}


def test_an_empty_body_is_a_form_without_fields() -> None:
    assert read(b"") == {}


def test_a_body_may_come_in_pieces() -> None:
    assert read([b"amo", b"unt=", b"", b"4"]) == {"amount": "4"}


@pytest.mark.parametrize("content_type", [None, "", "application/json", "text/plain", "multipart/mixed; boundary=cut"])
def test_other_content_types_are_refused(content_type: str | None) -> None:
    assert refusal(b"amount=4", content_type)[0] == 415


@pytest.mark.parametrize("charset", ["utf-16", "latin-1", "idna", "unicode_escape", "nonsense"])
def test_other_charsets_are_refused(charset: str) -> None:
    assert refusal(b"amount=4", f"{URLENCODED}; charset={charset}")[0] == 415
    assert refusal(part("note", rb"\ud800") + b"--cut--", f"{MULTIPART}; charset={charset}")[0] == 415


def test_utf8_may_be_named() -> None:
    assert read(b"amount=4", f"{URLENCODED}; charset=UTF-8") == {"amount": "4"}


def test_two_content_types_are_refused() -> None:
    with pytest.raises(FormError) as caught:
        read_messages([], [(b"content-type", URLENCODED.encode())] * 2)
    assert caught.value.status == 415


def test_a_body_of_16_kib_is_read_and_one_byte_more_is_refused() -> None:
    body = b"note=" + b"a" * (MAX_BODY - 5)
    assert len(read(body)["note"]) == MAX_BODY - 5
    assert refusal(body + b"a")[0] == 413
    assert refusal([body, b"a"])[0] == 413
    assert refusal(b"a" * (MAX_BODY + 1), MULTIPART)[0] == 413


def test_an_endless_body_is_not_read_to_its_end() -> None:
    def endless() -> Iterable[bytes]:
        yield from [b"a" * 65536] * 1000

    read_pieces: list[Message] = [{"type": "http.request", "body": piece, "more_body": True} for piece in endless()]
    with pytest.raises(FormError) as caught:
        read_messages(read_pieces, [(b"content-type", URLENCODED.encode())])
    assert caught.value.status == 413
    assert len(read_pieces) > 980


@pytest.mark.parametrize("body", [b"nothing", b"note=%FF", b"note=\xff", b"note=%ED%A0%80", b"&", b"note=a&&" * 30])
def test_a_damaged_urlencoded_body_is_refused(body: bytes) -> None:
    assert refusal(body) == (400, "The form arrived damaged. Open the page again and send it once more.")


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
    status, message = refusal(body, content_type)
    assert status == 400
    assert "arrived" in message


def test_multipart_text_that_is_not_utf8_is_refused() -> None:
    assert refusal(part("note", b"\xff") + b"--cut--\r\n", MULTIPART)[0] == 400


def test_a_file_is_refused() -> None:
    body = part("note", b"a", '; filename="a.txt"') + b"--cut--\r\n"
    assert refusal(body, MULTIPART) == (400, "The form came with a file, and this page takes none.")


def test_an_unknown_field_is_refused() -> None:
    assert refusal(b"amount=4&colour=red") == (400, "The form has a field that this page does not know.")


def test_a_repeated_field_is_refused() -> None:
    assert refusal(b"amount=4&amount=5") == (400, "The form names “amount” twice.")
    assert refusal(part("note", b"a") * 2 + b"--cut--\r\n", MULTIPART) == (400, "The form names “note” twice.")


def test_a_browser_that_goes_away_is_refused() -> None:
    with pytest.raises(FormError, match="cut short"):
        read_messages([{"type": "http.disconnect"}], [(b"content-type", URLENCODED.encode())])
