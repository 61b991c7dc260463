"""The recorder: each decision worth keeping goes to `logging`, to a file, and to whoever wants to be told."""

import logging
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from time import time
from typing import Literal, NamedTuple

from keyfob.addresses import Address
from keyfob.audit.files import RecordFile
from keyfob.audit.floods import Flood
from keyfob.audit.record import (
    HANDSHAKE_REFUSED,
    AuditRecord,
    describe_admission,
    describe_handshake,
    describe_refusal,
    format_omitted,
    format_record,
)
from keyfob.policy import Allow, Deny, Login
from keyfob.request import Request

LOGGER = logging.getLogger("keyfob.audit")

Callback = Callable[[AuditRecord], None]


class Records(NamedTuple):
    """What is kept, and where: the section [audit] of a configuration.

    `file` rotates at `largest` bytes and leaves `kept` older ones. `session` is the seconds for which one record of a
    device's admission to an application is enough; with `admissions` "every", each request that is let in has one.
    """

    file: Path | None = None
    largest: int = 10_000_000
    kept: int = 5
    session: float = 900.0
    admissions: Literal["first", "every"] = "first"


_DEFAULT = Records()


class Recorder:
    """Writes records: to the logger `keyfob.audit` (refusals at WARNING, admissions at INFO), and to a file if asked.

    Every record that is written is handed to `on_decision`, too, which must neither raise nor wait
    (`keyfob.callbacks.Messenger` makes such a function of any). Floods are cut short, see Flood; a line with the
    decision "omitted" says how many records of which reasons are missing. May be called by several threads, and in
    children of the process that made it, each of which counts on its own. Raises KeyfobError as RecordFile does.
    """

    def __init__(self, records: Records = _DEFAULT, on_decision: Callback | None = None) -> None:
        self.records = records
        self._on_decision = on_decision
        self._flood = Flood()
        self._file = None if records.file is None else RecordFile(records.file, records.largest, records.kept)

    @property
    def unwritten(self) -> int:
        """How many lines the file lacks because it could not be written; logging had them."""
        return 0 if self._file is None else self._file.unwritten

    def refuse(self, decision: Deny | Login, request: Request, client: Address | None) -> str:
        """Records a refusal and returns its request id, which the client is shown too.

        `client` is the client's own address, None where nobody can tell. In a flood the record may be left out; there
        is a request id all the same.
        """
        request_id = secrets.token_hex(8)
        flood = self._find_flood(request.at)
        if flood.keeps_refusal(client, decision.reason, request.at):
            self._keep(describe_refusal(decision, request, client, request_id), logging.WARNING, request.at)
        return request_id

    def admit(self, decision: Allow, request: Request, client: Address | None) -> str:
        """Records an admission, whether it opens a session or not, and returns its request id."""
        request_id = secrets.token_hex(8)
        flood, certificate = self._find_flood(request.at), decision.identity.certificate
        fingerprint = None if certificate is None else certificate.fingerprint_sha256
        if self.records.admissions == "every" or flood.keeps_admission(fingerprint, client, request.at):
            self._keep(describe_admission(decision, request, client, request_id), logging.INFO, request.at)
        return request_id

    def refuse_handshake(self, error: str, address: Address | None = None) -> None:
        """Records a connection that the TLS layer ended because of its certificate."""
        now = time()
        if self._find_flood(now).keeps_refusal(address, HANDSHAKE_REFUSED, now):
            self._keep(describe_handshake(error, address, now), logging.WARNING, now)

    def tick(self, now: float) -> None:
        """Tells what was left out, if that is due. To be called every few seconds; every record does it, too."""
        self._find_flood(now)

    def close(self) -> None:
        """Tells what was left out, and lets go of the file. What comes later is recorded all the same."""
        self._tell_omitted(self._flood)
        if self._file is not None:
            self._file.close()

    def _find_flood(self, now: float) -> Flood:
        """This process's own counts, after a word on what it has left out long enough."""
        flood = self._flood
        if flood.process != os.getpid():
            # A child of the one that counted: what was left out is the parent's to tell, and its locks may be held.
            flood = self._flood = Flood()
            self._file = None if self._file is None else self._file.renew()
        elif flood.is_due(now):
            self._tell_omitted(flood)
        return flood

    def _tell_omitted(self, flood: Flood) -> None:
        omitted = flood.take_omitted()
        if omitted is not None:
            self._write(format_omitted(*omitted), logging.WARNING, omitted.until)

    def _keep(self, record: AuditRecord, level: int, now: float) -> None:
        if self._file is not None or LOGGER.isEnabledFor(level):
            self._write(format_record(record), level, now)
        if self._on_decision is not None:
            self._on_decision(record)

    def _write(self, line: str, level: int, now: float) -> None:
        LOGGER.log(level, "%s", line)
        if self._file is not None:
            self._file.write(line, now)
