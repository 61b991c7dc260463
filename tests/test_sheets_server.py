"""The stand-in for Google: what the tests rely on is as the guide of the API says, or as Google was recorded."""

import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from sheets_grid import Formula, Refusal, Spreadsheet
from sheets_server import AUDIENCE, GRANT, SCOPE, Fault, FaultList, FaultPlan, Google, Seen, private_key, sheets_server


@pytest.fixture
def google() -> Iterator[Google]:
    with sheets_server() as running:
        yield running


@pytest.fixture
def book() -> Spreadsheet:
    return Spreadsheet("Household", ["Sheet1"])


def append(book: Spreadsheet, reference: str, *rows: list[Any], option: str = "RAW", insert: str = "OVERWRITE") -> str:
    _, table, box = book.append(reference, rows, option, insert)
    return f"{table and (table.top, table.left)} {box.top},{box.left}"


def sign(key: rsa.RSAPrivateKey, email: str, seconds: int = 3600, scope: str = SCOPE) -> str:
    now = int(time.time())
    claims = {"iss": email, "aud": AUDIENCE, "iat": now, "exp": now + seconds, "scope": scope}
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in ({"alg": "RS256"}, claims)]
    signature = key.sign(b".".join(parts), padding.PKCS1v15(), hashes.SHA256())
    return b".".join([*parts, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()


def ask_token(google: Google, assertion: str) -> httpx.Response:
    return httpx.post(f"{google.endpoint}/token", data={"grant_type": GRANT, "assertion": assertion}, trust_env=False)


def test_an_append_to_a_whole_sheet_lands_in_the_last_table(book: Spreadsheet) -> None:
    """An empty cell parts a lone row into two tables, and a second append begins at column C, as was recorded."""
    assert append(book, "Sheet1", ["a", "", "c"]) == "None 0,0"
    assert append(book, "Sheet1", ["a", "", "c"]) == "(0, 2) 1,2"


def test_an_append_to_an_explicit_cell_lands_under_that_cell(book: Spreadsheet) -> None:
    """With A1 named, the second append begins at column A, as was recorded."""
    append(book, "'Sheet1'", ["a", "", "c"])
    assert append(book, "'Sheet1'!A1", ["a", "", "c"]) == "(0, 0) 1,0"


def test_an_append_overwrites_unless_it_is_asked_to_insert(book: Spreadsheet) -> None:
    """What stands under a table is lost under OVERWRITE and pushed down under INSERT_ROWS."""
    book.update("Sheet1!A1:B3", [["a", "b"], [None, None], ["sum", "9"]], "RAW")
    append(book, "Sheet1!A1", ["new", "new"], ["new", "new"], insert="INSERT_ROWS")
    assert book["Sheet1"].rows == [["a", "b"], ["new", "new"], ["new", "new"], [], ["sum", "9"]]
    append(book, "Sheet1!A1", ["over", "over"], ["over", "over"])
    assert book["Sheet1"].rows[3:] == [["over", "over"], ["over", "over"]]


def test_raw_values_stay_and_entered_ones_are_read(book: Spreadsheet) -> None:
    """A text that looks like a formula, a number or a date is one under USER_ENTERED alone."""
    append(book, "Sheet1", ["=1+1", "4", "2026-11-23", "true"])
    append(book, "Sheet1!A1", ["=1+1", "4", "2026-11-23", "true"], option="USER_ENTERED")
    assert book["Sheet1"].rows == [
        ["=1+1", "4", "2026-11-23", "true"],
        [Formula("=1+1", "#ERROR!"), 4, 46349, True],
    ]


def test_null_leaves_a_cell_and_an_empty_text_empties_it(book: Spreadsheet) -> None:
    """So that one request can write some cells of a row and leave the others."""
    book.update("Sheet1!A1:C1", [["a", "b", "c"]], "RAW")
    book.update("Sheet1!A1:C1", [[None, "", "new"]], "RAW")
    assert book["Sheet1"].rows == [["a", None, "new"]]


def test_reading_leaves_out_what_is_empty_at_the_end(book: Spreadsheet) -> None:
    """Cells and rows at the end are left out, and a range may end beyond the grid."""
    book.update("Sheet1!A1:C3", [["a", "", ""], ["", "", "b"], ["", "", ""]], "RAW")
    assert book.read("Sheet1!A:ZZZ", "UNFORMATTED_VALUE", "SERIAL_NUMBER") == {
        "range": "Sheet1!A1:Z1000",
        "majorDimension": "ROWS",
        "values": [["a"], ["", "", "b"]],
    }


@pytest.mark.parametrize("reference", ["Sheet2!A1", "'Sheet2'", "Sheet1!A1001", "Sheet1!?"])
def test_a_range_that_is_not_there_is_refused(book: Spreadsheet, reference: str) -> None:
    """An unknown sheet cannot be parsed, and a beginning beyond the grid exceeds its limits."""
    with pytest.raises(Refusal, match=r"Unable to parse range|exceeds grid limits"):
        book.read(reference, "UNFORMATTED_VALUE", "SERIAL_NUMBER")


def test_a_batch_is_done_as_a_whole_or_not_at_all(book: Spreadsheet) -> None:
    """The first request of a batch is undone when the second is refused."""
    with pytest.raises(Refusal, match=r"^Invalid requests\[1\].addSheet: A sheet with the name"):
        book.batch([{"addSheet": {"properties": {"title": name}}} for name in ("New", "Sheet1")])
    assert [sheet.title for sheet in book.sheets] == ["Sheet1"]


def test_no_spreadsheet_grows_beyond_its_cells(book: Spreadsheet) -> None:
    """The limit counts the grid of every sheet, filled or not."""
    append(book, "Sheet1", ["a"])
    book.most_cells = 26_000
    with pytest.raises(Refusal, match="above the limit of 26000 cells"):
        append(book, "Sheet1!A1", ["b"], insert="INSERT_ROWS")


def test_a_token_is_given_for_the_right_signature_alone(google: Google) -> None:
    """A statement that another key signed, about another account, or for other rights, gets none."""
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    assert ask_token(google, sign(private_key(), google.email)).json()["expires_in"] == 3600
    for assertion in (
        sign(stranger, google.email),
        sign(private_key(), "mallory@example.com"),
        sign(private_key(), google.email, seconds=-1),
        sign(private_key(), google.email, seconds=7200),
        sign(private_key(), google.email, scope="openid"),
        "nonsense",
    ):
        answer = ask_token(google, assertion)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    assert google.granted == 1


def test_nothing_is_answered_without_a_token(google: Google) -> None:
    """The error has the shape that Google's have."""
    answer = httpx.get(f"{google.endpoint}/v4/spreadsheets/{google.spreadsheet}", trust_env=False)
    assert (answer.status_code, answer.json()["error"]["status"]) == (401, "UNAUTHENTICATED")


def test_a_plan_of_faults_is_the_same_for_the_same_seed() -> None:
    """A third of all requests fail, in every way, and again in the same way."""
    seen = Seen(1, "GET", "/", {}, None, "read")
    one, other = FaultPlan(6, 1 / 3), FaultPlan(6, 1 / 3)
    faults = [one(seen) for _ in range(3000)]
    assert faults == [other(seen) for _ in range(3000)]
    assert set(faults) == {None, *Fault}
    assert 900 < sum(one.made.values()) < 1100


def test_a_list_of_faults_is_used_up() -> None:
    """Only requests of its kind count, and after the last fault all goes well."""
    read, write = (Seen(1, "", "/", {}, None, kind) for kind in ("read", "write"))
    faults = FaultList(None, Fault.RESET, kind="write")
    assert [faults(seen) for seen in (read, write, read, write, write)] == [None, None, None, Fault.RESET, None]
