"""Entries accepted a second, over TLS through the gate and onto the disk, and how soon the workbook has them all.

Beside them, in the same run: the least app that does as much for the disk, which is uvicorn, Starlette and one sqlite3
commit for each row, with TLS but without a gate, an amount to read or a workbook; and what many such apps do for each
expense, which is to load a workbook with openpyxl, append, and save.
"""

import json
import secrets
import ssl
import sys
import tempfile
import time
import urllib.parse
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

from openpyxl import Workbook, load_workbook
from python_calamine import CalamineWorkbook
from timing import judge, show
from volley import Told, ask_all, connecting

from servers import environment, find_port, keyfob, make_client, running, wait_for_handshake

CONNECTIONS, ENTRIES, WARM, LEAST, MOST, LIMIT = 32, 10_000, 1_000, 1000.0, 100.0, 30.0
SECONDS_TO_CATCH_UP = 300
# Appended one by one with openpyxl, to a workbook of so many rows.
_APPENDED, _ROWS = 5, 10_000
_CATEGORIES = ("Groceries", "Coffee", "Eating out", "Transport")
_HEAD = (
    "POST / HTTP/1.1\r\nhost: localhost:{port}\r\naccept: application/json\r\norigin: https://localhost:{port}\r\n"
    "sec-fetch-site: same-origin\r\nuser-agent: Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) Safari/604.1\r\n"
    "accept-language: en-GB,en;q=0.9\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: {length}"
    "\r\n\r\n"
)

PLAIN = """
import sqlite3, threading
from urllib.parse import parse_qsl
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse
from starlette.routing import Route

threads = threading.local()

def insert(fields):
    if not hasattr(threads, "journal"):
        threads.journal = sqlite3.connect("plain.db", timeout=60)
        threads.journal.execute("PRAGMA journal_mode=WAL")
        threads.journal.execute("PRAGMA synchronous=FULL")
        threads.journal.execute(
            "CREATE TABLE IF NOT EXISTS entry (id TEXT PRIMARY KEY, date TEXT, amount TEXT, category TEXT, note TEXT)"
        )
    with threads.journal:
        threads.journal.execute("INSERT INTO entry VALUES (:id, :date, :amount, :category, :note)", fields)

async def add(request):
    fields = dict(parse_qsl((await request.body()).decode()))
    await run_in_threadpool(insert, fields)
    return JSONResponse({"entry": fields}, 201)

app = Starlette(routes=[Route("/", add, methods=["POST"])])
"""


def measure() -> bool:
    """Prints both sides, and whether the limits are met. Takes a minute, and fails if an entry is not there once."""
    print(
        f"accept: entries from {CONNECTIONS} connections over TLS with a client certificate, each on disk when answered"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with serving(folder) as (port, client):
            told, ids, begun = _enter(port, client)
            caught_up = _wait_for_workbook(port, client, begun)
        wrong = count_wrong(folder / "home" / "budget.xlsx", ids)
        plain = _ask_plain(folder)
    met = _judge_told(told, plain)
    met = judge(f"seconds until the workbook has {ENTRIES}", caught_up, LIMIT, " s") and met
    show("as fast with openpyxl, loaded and saved for each", ENTRIES / _append_in_turn(), " s")
    return judge("entries not in the workbook exactly once", wrong, 0) and met


@contextmanager
def serving(folder: Path) -> Iterator[tuple[int, ssl.SSLContext]]:
    """The app as it is served, with everything new in `folder / "home"`; gives its port and the device's client."""
    home, port = folder / "home", find_port()
    command = keyfob("serve", "budget_app.app:app", "--home", home, "--port", str(port), "--no-enrolment")
    with running(command, port, folder, environment(KEYFOB_HOME=str(home))):
        wait_for_handshake(port)
        devices = home / "devices"
        yield port, make_client(home / "ca.pem", devices / "this-computer.pem", devices / "this-computer-key.pem")


def make_requests(port: int, count: int) -> list[tuple[str, bytes]]:
    """The ids of new entries, and what a phone sends for each."""
    today = date.today().isoformat()  # noqa: DTZ011  The server's day is this machine's.
    requests = []
    for number in range(count):
        entry_id = str(uuid.UUID(bytes=secrets.token_bytes(16), version=4))
        fields = {
            "id": entry_id,
            "amount": f"{number % 90 + 1}.{number % 100:02}",
            "category": _CATEGORIES[number % len(_CATEGORIES)],
            "date": today,
            "note": f"expense {number}",
        }
        body = urllib.parse.urlencode(fields)
        requests.append((entry_id, (_HEAD.format(port=port, length=len(body)) + body).encode("ascii")))
    return requests


def _enter(port: int, client: ssl.SSLContext) -> tuple[Told, list[str], float]:
    """What the entries met, their ids, and when the first was sent; some others came before, and are not counted."""
    requests = make_requests(port, WARM + ENTRIES)
    with connecting(port, client, CONNECTIONS) as connections:
        ask_all(connections, (request for _, request in requests[:WARM]), b"201")
        begun = time.perf_counter()
        told = ask_all(connections, (request for _, request in requests[WARM:]), b"201")
    return told, [entry_id for entry_id, _ in requests], begun


def _wait_for_workbook(port: int, client: ssl.SSLContext, begun: float) -> float:
    """Seconds from `begun` until the app says that nothing waits for the workbook."""
    with connecting(port, client, 1) as [connection]:
        connection.settimeout(SECONDS_TO_CATCH_UP)
        while count_waiting(connection):
            if time.perf_counter() - begun > SECONDS_TO_CATCH_UP:
                raise RuntimeError("the workbook does not catch up")
            time.sleep(0.1)
    return time.perf_counter() - begun


def count_waiting(connection: ssl.SSLSocket) -> int:
    """How many entries are not in the workbook yet, as the app's health page says to a program."""
    connection.sendall(b"GET /health HTTP/1.1\r\nhost: localhost\r\naccept: application/json\r\n\r\n")
    answer = bytearray()
    while not answer.endswith(b"}"):
        if not (received := connection.recv(65536)):
            raise RuntimeError(f"the server hung up: {bytes(answer[:500])!r}")
        answer += received
    return int(json.loads(answer.partition(b"\r\n\r\n")[2])["waiting"])


def count_wrong(path: Path, ids: list[str]) -> int:
    """How many of the ids are not in the workbook, are there twice, or are nobody's."""
    with CalamineWorkbook.from_path(path) as book:
        headings, *rows = book.get_sheet_by_name("Expenses").to_python()
    column = headings.index("Entry ID")
    found = [str(row[column]) for row in rows]
    return len(found) - len(set(found)) + len(set(ids) ^ set(found))


def _judge_told(told: Told, plain: Told) -> bool:
    show("Starlette and sqlite3, a commit each, no gate", plain.per_second, " entries/s")
    show("  median / 99th percentile", plain.percentile(50), f" / {plain.percentile(99):.2f} ms")
    met = told.per_second >= LEAST
    print(f"  {'accepted':<46} {told.per_second:8.2f} entries/s   (limit {LEAST}: {'met' if met else 'MISSED'})")
    show("  ratio", told.per_second / plain.per_second, "")
    show("  median", told.percentile(50), " ms")
    return judge("  99th percentile", told.percentile(99), MOST, " ms") and met


# --- What people know -------------------------------------------------------------------------------------------------


def _ask_plain(folder: Path) -> Told:
    """The same requests from as many connections to an app that commits each on its own."""
    (folder / "plain.py").write_text(PLAIN, encoding="utf-8")
    home, port = folder / "home", find_port()
    command = [sys.executable, "-m", "uvicorn", "plain:app", "--port", str(port), "--no-access-log", "--log-level"]
    command += ["warning", "--ssl-certfile", str(home / "server.pem"), "--ssl-keyfile", str(home / "server-key.pem")]
    command += ["--ssl-ca-certs", str(home / "ca.pem"), "--ssl-cert-reqs", "1"]
    devices = home / "devices"
    client = make_client(home / "ca.pem", devices / "this-computer.pem", devices / "this-computer-key.pem")
    requests = [request for _, request in make_requests(port, WARM + ENTRIES)]
    with running(command, port, folder), connecting(port, client, CONNECTIONS) as connections:
        ask_all(connections, requests[:WARM], b"201")
        return ask_all(connections, requests[WARM:], b"201")


def _append_in_turn() -> float:
    """Entries a second, each loaded, appended and saved, into a workbook that has the rows of some years."""
    with tempfile.TemporaryDirectory() as name:
        path, book = Path(name) / "book.xlsx", Workbook()
        sheet = book.worksheets[0]
        for number in range(_ROWS):
            sheet.append([date(2026, 1, 1), number / 100, "Coffee", "note", "phone", str(number)])
        book.save(path)
        begun = time.perf_counter()
        for number in range(_APPENDED):
            book = load_workbook(path)
            book.worksheets[0].append([date(2026, 1, 1), number / 100, "Coffee", "note", "phone", str(number)])
            book.save(path)
        return _APPENDED / (time.perf_counter() - begun)
