"""A batch from its file to the last certificate, and from wherever an earlier run of it was stopped."""

import hashlib
import itertools
import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from keyfob.certificate import UNREADABLE
from keyfob.errors import PKIError
from keyfob.inventory import Entry
from keyfob.inventory.records import make_entry
from keyfob.pki.authority import Authority
from keyfob.pki.batch.claims import Claims
from keyfob.pki.batch.folder import Bundle, Destination, Folder
from keyfob.pki.batch.known import NOBODY, Known, find_known, record, record_missing
from keyfob.pki.batch.parts import Workshop, drop, open_workshop, read_ledger
from keyfob.pki.batch.pool import Chunk, Placed, Pool, count_cores
from keyfob.pki.batch.rows import BadRows, Faults, Reader, Wish, explain, open_text, unreadable
from keyfob.pki.keys import KEY_KINDS
from keyfob.pki.registry import Registry

# What a worker makes at a time weighs as much as so many certificates on P-256: a tenth of a second, about.
_CHUNK = 1000
_WEIGHTS = {"p384": 4, "rsa2048": 250, "rsa3072": 500, "rsa4096": 1000}
# Certificates that are recorded at once: more would hold up other commands, fewer would take longer for each.
_RECORDED = 10_000
_SECONDS_UNRECORDED = 1.0
# A few of many names, in a message.
_NAMED = 5


class Stage(StrEnum):
    """What a batch is at."""

    RESUMING = "resuming"
    CHECKING = "checking"
    ISSUING = "issuing"
    FINISHING = "finishing"


class Progress(NamedTuple):
    """How far a stage is: in parts for the first, in rows for the others. `total` is None if nobody knows."""

    stage: Stage
    done: int
    total: int | None


class Outcome(NamedTuple):
    """How many certificates were made, and how many rows had theirs already. Together, that is every row."""

    made: int
    present: int


Watch = Callable[[Progress], None]


def issue_batch(
    registry: Registry,
    source: Path,
    out: Path,
    *,
    kind: str = "p256",
    days: int,
    processes: int | None = None,
    watch: Watch = lambda progress: None,
) -> Outcome:
    """A certificate for every row of the CSV file `source`, in `out`: a folder, or a bundle if it is called `….zip`.

    `kind` and `days` are for rows that do not say. Stopped at any moment and called again, it ends with one certificate
    a row. Every row is checked before the first is made: raises BadRows. Raises PKIError for everything else, also if
    some names got a certificate from somebody else in the meantime; then all others are made.
    """
    if kind not in KEY_KINDS:
        raise PKIError(f"{kind!r} is no kind of key", f"choose one of {', '.join(KEY_KINDS)}")
    reader = Reader(source, registry.authority, kind, days)
    destination: Folder | Bundle = Folder(out)
    if out.suffix.lower() == ".zip":
        destination = Bundle(out, _mark(source, registry.root))
        if destination.is_complete():
            destination.tidy_up()
            return Outcome(0, sum(1 for _ in reader.read(Faults())))
    destination.prepare()
    try:
        with open_workshop(destination.workshop) as workshop:
            batch = _Batch(registry, destination, workshop, watch)
            outcome = batch.run(reader, _choose_count(source, processes))
    except sqlite3.Error as error:
        raise PKIError(f"a temporary file cannot be written: {error}", "make room where TMPDIR says") from error
    finally:
        destination.give_up()
    if batch.lost:
        raise PKIError(
            f"{', '.join(map(repr, batch.lost[:_NAMED]))}: given a certificate by another command in the meantime; "
            f"{len(batch.lost)} of {outcome.made + len(batch.lost)} were left out",
            "the others are made; take other names for these",
        )
    return outcome


class _Batch:
    """One run, in its workshop."""

    def __init__(self, registry: Registry, destination: Destination, workshop: Workshop, watch: Watch) -> None:
        self._inventory = registry.inventory
        self._authority = registry.authority
        # Since the batch began, an intermediate may have taken the root's place.
        issuers = (registry.root, registry.authority.certificate)
        self._issuers = {each.public_bytes(Encoding.DER) for each in issuers}
        self._destination, self._workshop, self._watch = destination, workshop, watch
        self.lost: list[str] = []

    def run(self, reader: Reader, processes: int) -> Outcome:
        """All of it. The workers start at once, since that takes them as long as thousands of rows to be checked."""
        workshop, target = self._workshop, self._destination.target
        workshop.remove_leftovers()
        with Pool(self._authority, processes, workshop.folder, workshop.rows, target) as pool:
            self._resume()
            chunks, present = self._check(reader)
            self._issue(pool, chunks)
        made = sum(each.rows for each in chunks)
        self._watch(Progress(Stage.FINISHING, 0, made))
        self._destination.finish(workshop)
        return Outcome(made - len(self.lost), present)

    def _resume(self) -> None:
        """Brings to its end whatever an earlier run has signed."""
        parts = self._workshop.find_parts()
        for done, part in enumerate(parts):
            self._watch(Progress(Stage.RESUMING, done, len(parts)))
            entries = _list_entries(part)
            if entries and entries[0].issuer not in self._issuers:
                message = f"{self._workshop.folder} has certificates of another authority"
                raise PKIError(message, "name the folder of that one with --home, or another place with --out")
            self._leave_out(record_missing(self._inventory, entries), [part])
            self._destination.restore(part)
            self._destination.collect(part)
        # They are in the inventory or nowhere now; the rows of the latter will say so.
        self.lost.clear()

    def _check(self, reader: Reader) -> tuple[list[Chunk], int]:
        """What is to be made, in a file, and how many rows have theirs. Raises BadRows."""
        faults, rows, wanted = Faults(), 0, 0
        with Claims() as claims, self._workshop.rows.open("xb") as file:
            spool = _Spool(file)
            for wishes in _divide(reader.read(faults)):
                claims.add(wishes)
                missing = self._select(wishes, faults)
                spool.add(missing)
                rows, wanted = rows + len(wishes), wanted + len(missing)
                self._watch(Progress(Stage.CHECKING, rows, None))
            claims.find_doubles(faults)
            chunks = spool.finish()
        if faults.count:
            raise BadRows(reader.source, faults.listed, faults.count)
        if not rows:
            raise PKIError(f"{reader.source} has no rows", "write one for each device, below the names of the columns")
        return chunks, rows - wanted

    def _select(self, wishes: Sequence[Wish], faults: Faults) -> list[Wish]:
        """The rows that have no certificate yet. Those that cannot have one go to `faults`."""
        known = find_known(self._inventory, [each.request.name for each in wishes])
        missing: list[Wish] = []
        adopted: dict[str, Entry] = {}
        for wish in wishes:
            name = wish.request.name
            try:
                if self._is_missing(name, known.get(name, NOBODY), adopted):
                    missing.append(wish)
            except PKIError as error:
                faults.add(wish.line, name, explain(error))
        if adopted:
            record(self._inventory, list(adopted.values()))
        return missing

    def _is_missing(self, name: str, known: Known, adopted: dict[str, Entry]) -> bool:
        there = self._destination.find(name)
        if there in known.fingerprints:
            return False
        if known.counts:
            raise PKIError("the name has a certificate already", "renew or revoke it, or take another name")
        if there is None:
            return True
        certificate = self._destination.find_whole(name)
        if certificate is None or not _is_issued(certificate, self._authority, name):
            raise PKIError("a file of that name is there already, and is not of this inventory", "move it away")
        # Its record was lost, such as with an inventory that had to be put back from a backup.
        adopted[name] = make_entry(name, certificate, self._authority.certificate, time.time())
        return False

    def _issue(self, pool: Pool, chunks: Sequence[Chunk]) -> None:
        total, done = sum(each.rows for each in chunks), 0
        self._watch(Progress(Stage.ISSUING, 0, total))
        with _Recorder(self._record) as recorder:
            for placed in pool.run(chunks, self._workshop.count_on(), self._workshop.commit):
                recorder.add(placed)
                done += placed.rows
                self._watch(Progress(Stage.ISSUING, done, total))

    def _record(self, pending: Sequence[Placed]) -> None:
        parts = [self._workshop.find_part(each.number) for each in pending]
        # The file first: a record whose certificate were lost would keep its name for ever.
        self._workshop.sync()
        entries = [entry for part in parts for entry in _list_entries(part)]
        self._leave_out(record(self._inventory, entries), parts)
        for part in parts:
            self._destination.collect(part)

    def _leave_out(self, lost: Sequence[Entry], parts: Sequence[Path]) -> None:
        names = {each.name for each in lost}
        for part in parts if names else ():
            self._destination.forget(names, part)
            drop(part, names)
        self.lost += sorted(names)


class _Recorder:
    """Records parts in a thread of its own, many at once, so that meanwhile the workers are told what to do next."""

    def __init__(self, record: Callable[[Sequence[Placed]], None]) -> None:
        self._record = record
        self._thread = ThreadPoolExecutor(1)
        self._pending: list[Placed] = []
        self._busy: Future[None] | None = None
        self._since = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """At the end of its block all is recorded; unless that ends early, when the next run does what is left."""
        with self._thread:
            if error is None:
                self._settle()
                self._hand_over()
                self._settle()

    def add(self, placed: Placed) -> None:
        """Takes one part more. Raises what recording the last ones has raised."""
        self._pending.append(placed)
        late = time.monotonic() - self._since > _SECONDS_UNRECORDED
        if late or sum(each.rows for each in self._pending) >= _RECORDED:
            self._settle()
            self._hand_over()

    def _hand_over(self) -> None:
        self._busy = self._thread.submit(self._record, self._pending)
        self._pending, self._since = [], time.monotonic()

    def _settle(self) -> None:
        if self._busy is not None:
            self._busy.result()


class _Spool:
    """Writes rows into a file for the workers, cut into chunks that take about the same time."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._waiting: list[Wish] = []
        self._weight = 0
        self._chunks: list[Chunk] = []

    def add(self, wishes: Sequence[Wish]) -> None:
        for wish in wishes:
            self._waiting.append(wish)
            self._weight += _WEIGHTS.get(wish.kind, 1)
            if self._weight >= _CHUNK:
                self._cut()

    def finish(self) -> list[Chunk]:
        if self._waiting:
            self._cut()
        return self._chunks

    def _cut(self) -> None:
        offset = self._file.tell()
        self._file.write(json.dumps(self._waiting).encode("ascii"))
        self._chunks.append(Chunk(offset, self._file.tell() - offset, len(self._waiting)))
        self._waiting, self._weight = [], 0


def _divide(wishes: Iterator[Wish]) -> Iterator[list[Wish]]:
    while some := list(itertools.islice(wishes, _CHUNK)):
        yield some


def _list_entries(part: Path) -> list[Entry]:
    issuer, issued_at, certificates = read_ledger(part)
    return [Entry(name, der, issuer, serial, begin, end, issued_at) for name, der, serial, begin, end in certificates]


def _is_issued(certificate: x509.Certificate, authority: Authority, name: str) -> bool:
    """Whether the authority has signed it for this device."""
    try:
        certificate.verify_directly_issued_by(authority.certificate)
        names = [each.value for each in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    except (InvalidSignature, *UNREADABLE):
        return False
    return names == [name]


def _mark(source: Path, root: x509.Certificate) -> bytes:
    """The comment of a bundle that is made of this file, by this authority or one below it."""
    digest = hashlib.sha256(root.public_bytes(Encoding.DER))
    try:
        with open_text(source) as file:
            while piece := file.buffer.read(1 << 20):
                digest.update(piece)
    except OSError as error:
        raise unreadable(source, error) from error
    return b"keyfob batch " + digest.hexdigest().encode("ascii")


def _choose_count(source: Path, processes: int | None) -> int:
    """As many workers as there are cores, but not more than there are lines."""
    wanted = processes or count_cores()
    try:
        with open_text(source) as file:
            return max(1, sum(1 for _ in itertools.islice(file, wanted + 1)) - 1)
    except OSError as error:
        raise unreadable(source, error) from error
