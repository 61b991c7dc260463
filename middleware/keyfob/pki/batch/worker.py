"""One of the processes that make a batch: it is told of rows, and makes keys, certificates and files of them.

Its orders and answers are small, and what is large goes by files, so neither side ever waits for the other to read. The
authority's key comes through a pipe, and is never in a file or among the arguments of a process. A worker whose batch
has died ends by itself; what it was making then counts for nothing, since only the batch commits.
"""

import base64
import binascii
import gc
import json
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.serialization import Encoding

from keyfob.errors import PKIError
from keyfob.pki.authority import Authority, DeviceRequest
from keyfob.pki.batch.folder import place
from keyfob.pki.batch.parts import Ledger, Signed, name_files, stage
from keyfob.pki.batch.rows import Wish, recall
from keyfob.pki.batch.template import Template, make_key

_LINE = 64


class Setting(NamedTuple):
    """What all orders have in common."""

    authority: Authority
    rows: Path
    workshop: Path
    target: Path | None
    """The folder for the devices' files; None where they stay in the parts."""


def work(connection: Connection, certificate: str, key: str, workshop: str, rows: str, target: str | None) -> None:
    """Obeys orders until there are no more. The certificate and the key are PEM."""
    # Nothing here ever points in a circle, and looking for that would take a twentieth of the time.
    gc.disable()
    authority = Authority.load(certificate.encode("ascii"), key.encode("ascii"))
    setting = Setting(authority, Path(rows), Path(workshop), Path(target) if target is not None else None)
    try:
        _obey(connection, setting)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        # The batch has been stopped.
        return


def _obey(connection: Connection, setting: Setting) -> None:
    waiting: dict[int, list[tuple[str, bytes]]] = {}
    while True:
        verb, number, *place_of_rows = json.loads(connection.recv_bytes())
        try:
            if verb == "make":
                token, waiting[number] = _make(setting, *place_of_rows)
                answer = ["made", number, token]
            else:
                files = waiting.pop(number)
                if setting.target is not None:
                    place(setting.target, files)
                answer = ["placed", number]
        except PKIError as error:
            answer = ["failed", error.message, error.hint]
        except OSError as error:
            answer = ["failed", f"{error.filename or setting.workshop} cannot be written: {error.strerror}", ""]
        connection.send_bytes(json.dumps(answer).encode("ascii"))


def _make(setting: Setting, offset: int, length: int) -> tuple[str, list[tuple[str, bytes]]]:
    wishes = _read(setting.rows, offset, length)
    templates = {days: Template(setting.authority, days) for days in {each.request.days for each in wishes}}
    # All keys first, and all signatures then: in turns, each would push the other's tables out of the caches.
    keys = [_find_key(wish) for wish in wishes]
    files: list[tuple[str, bytes]] = []
    signed = tuple(
        _sign(wish.request, templates[wish.request.days], *pair, files) for wish, pair in zip(wishes, keys, strict=True)
    )
    issuer = setting.authority.certificate.public_bytes(Encoding.DER)
    return stage(setting.workshop, files, Ledger(issuer, int(time.time()), signed)), files


def _read(rows: Path, offset: int, length: int) -> list[Wish]:
    with rows.open("rb") as file:
        file.seek(offset)
        return [recall(*each) for each in json.loads(file.read(length))]


def _find_key(wish: Wish) -> tuple[bytes | None, bytes]:
    """PKCS#8 of a new key, or None where the key was born elsewhere, and its public half; DER both."""
    return make_key(wish.kind) if wish.kind else (None, base64.b64decode(wish.public_key))


def _sign(
    request: DeviceRequest, template: Template, private: bytes | None, public: bytes, files: list[tuple[str, bytes]]
) -> Signed:
    certificate, serial = template.fill(request, public)
    name, key_name = name_files(request.name)
    files.append((name, armour(b"CERTIFICATE", certificate)))
    if private is not None:
        files.append((key_name, armour(b"PRIVATE KEY", private)))
    return Signed(request.name, certificate, serial, template.not_before, template.not_after)


def armour(label: bytes, der: bytes) -> bytes:
    """PEM, RFC 7468."""
    text = binascii.b2a_base64(der, newline=False)
    lines = b"\n".join([text[at : at + _LINE] for at in range(0, len(text), _LINE)])
    return b"-----BEGIN %b-----\n%b\n-----END %b-----\n" % (label, lines, label)
