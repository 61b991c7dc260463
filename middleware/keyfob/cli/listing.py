"""`keyfob list` and `show`: who has certificates, and what is in them."""

import json
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path
from typing import Any

import click
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from keyfob.cli.options import find_certificates, inventory_options, open_registry, show_day, show_moment
from keyfob.cli.terminal import escape, say
from keyfob.inventory import Record, State
from keyfob.inventory.inventory import Order
from keyfob.inventory.records import Stored
from keyfob.pki.registry import DEVICES, Registry
from keyfob.pki.requests import describe_kind

WIDEST_NAME = 40
# So many lines decide how wide the names are, and are written at once.
_PAGE = 1000


@click.command("list")
@inventory_options
@click.option(
    "--sort",
    type=click.Choice([each.value for each in Order]),
    default=Order.NAME.value,
    show_default=True,
    help="By what.",
)
@click.option("--reverse", is_flag=True, help="The other way round.")
@click.option("--state", type=click.Choice([each.value for each in State]), help="Only those in this state.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a certificate, one a line, for programs.")
def list_command(
    home: Path,
    inventory: str | None,
    sort: str,
    state: str | None,
    *,
    reverse: bool,
    as_json: bool,
) -> None:
    """List the devices' certificates.

    A line for each: whose it is, its state, from when until when it opens the door, and when and from where it was
    last let in. A device that was renewed has more than one line. Days are in UTC.
    """
    now = time.time()
    with open_registry(home, inventory) as registry:
        records = registry.inventory.iterate(Order(sort), descending=reverse)
        if state is not None:
            records = (record for record in records if record.find_state(now).value == state)
        lines = (json.dumps(describe(record, now)) for record in records) if as_json else _as_table(records, now)
        for page in _cut(lines):
            # As `say`, without looking at every line once more.
            sys.stdout.write("".join(f"{line}\n" for line in page))
            sys.stdout.flush()


def _cut(lines: Iterable[str]) -> Iterator[list[str]]:
    lines = iter(lines)
    while page := list(islice(lines, _PAGE)):
        yield page


def describe(record: Record, at: float) -> dict[str, Any]:
    """What the inventory knows of a certificate, for JSON. Moments are ISO 8601, UTC, or null."""
    return {
        "name": record.name,
        "state": record.find_state(at).value,
        "serial": record.serial_text,
        "fingerprint": record.fingerprint.hex(),
        "issued_at": _iso(record.issued_at),
        "not_before": _iso(record.not_before),
        "not_after": _iso(record.not_after),
        "retires_at": _iso(record.retires_at),
        "revoked_at": _iso(record.revoked_at),
        "reason": record.reason,
        "seen_at": _iso(record.seen_at),
        "seen_from": record.seen_from,
    }


def _iso(seconds: int | None) -> str | None:
    return None if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _as_table(records: Iterator[Record], at: float) -> Iterator[str]:
    first = list(islice(records, _PAGE))
    width = min(WIDEST_NAME, max((len(escape(record.name)) for record in first), default=0))
    width = max(width, len("NAME"))
    if first:
        yield _align(width, "NAME", "STATE", "SINCE", "UNTIL", "LAST SEEN")
    for record in chain(first, records):
        seen = "never" if record.seen_at is None else f"{show_moment(record.seen_at)} {escape(record.seen_from or '')}"
        state = record.find_state(at).value
        yield _align(
            width, escape(record.name), state, show_day(record.issued_at), show_day(find_end(record)), seen.rstrip()
        )


def _align(width: int, name: str, state: str, since: str, until: str, seen: str) -> str:
    return f"{name:<{width}}  {state:<8}  {since:<10}  {until:<10}  {seen}"


def find_end(record: Record) -> int:
    """When it opens, or opened, the door for the last time."""
    ends = (record.not_after, record.retires_at, record.revoked_at)
    return min(each for each in ends if each is not None)


# --- A single one ---------------------------------------------------------------------------------------------------


@click.command("show")
@click.argument("words", metavar="NAME|SERIAL|FINGERPRINT")
@inventory_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def show_command(words: str, home: Path, inventory: str | None, *, as_json: bool) -> None:
    """Show everything about a device or certificate.

    Of a name it is the certificate that counts, or else the newest one; the others of the name stand below.
    """
    now = time.time()
    with open_registry(home, inventory) as registry:
        found = find_certificates(registry.inventory, words)
        chosen = next((each for each in found if _counts(each.record)), found[0])
        everything = registry.inventory.find(chosen.record.name)
        history = [each.record for each in everything if each.record.id != chosen.record.id]
        files = _find_files(registry, chosen)
    described = describe(chosen.record, now) | _describe_certificate(chosen.parsed) | {"files": files}
    if as_json:
        say(json.dumps(described | {"history": [describe(record, now) for record in history]}))
    else:
        say("\n".join(_as_lines(described, chosen.record, history, now)))


def _counts(record: Record) -> bool:
    return record.revoked_at is None and record.retires_at is None


def _find_files(registry: Registry, stored: Stored) -> list[str]:
    """Its files in the folder: the certificate, if it is this one, and its key."""
    path, key = (registry.folder / DEVICES / f"{stored.record.name}{ending}" for ending in (".pem", "-key.pem"))
    try:
        is_this = path.read_bytes().strip() == stored.parsed.public_bytes(Encoding.PEM).strip()
    except OSError:
        return []
    return [str(each) for each in (path, key) if is_this and each.exists()]


def _describe_certificate(certificate: x509.Certificate) -> dict[str, Any]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = x509.SubjectAlternativeName([])
    return {
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "key": describe_kind(certificate.public_key()),
        "emails": list(names.get_values_for_type(x509.RFC822Name)),
        "dns": list(names.get_values_for_type(x509.DNSName)),
        "uris": list(names.get_values_for_type(x509.UniformResourceIdentifier)),
    }


def _as_lines(described: dict[str, Any], record: Record, history: list[Record], at: float) -> Iterator[str]:
    yield _line("name", record.name)
    yield _line("state", _say_state(record, at))
    for what in ("subject", "issuer", "key", "serial", "fingerprint"):
        yield _line(what, described[what])
    for what, word in (("emails", "e-mail"), ("dns", "DNS"), ("uris", "URI"), ("files", "file")):
        yield from (_line(word, each) for each in described[what])
    yield _line("issued", show_moment(record.issued_at))
    yield _line("valid", f"{show_moment(record.not_before)} to {show_moment(record.not_after)}")
    seen = "never" if record.seen_at is None else f"{show_moment(record.seen_at)} from {record.seen_from}"
    yield _line("last seen", seen)
    if history:
        yield "\nothers of this name:"
        yield from (
            f"  {each.serial_text:<40}  {_say_state(each, at)}; issued {show_day(each.issued_at)}" for each in history
        )


def _line(what: str, said: str) -> str:
    return f"{what:<11} {escape(said)}"


def _say_state(record: Record, at: float) -> str:
    state = record.find_state(at)
    if record.revoked_at is not None:
        return f"{state}, {show_moment(record.revoked_at)} ({record.reason})"
    if record.retires_at is not None:
        word = "ended" if record.retires_at <= at else "lives on until"
        return f"{state}, renewed; {word} {show_moment(record.retires_at)}"
    return state.value
