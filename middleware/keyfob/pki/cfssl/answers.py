"""What `cfssl` prints and `cfssljson` takes apart: certificates, keys and CSRs in one JSON object."""

import base64
import binascii
import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from keyfob.errors import PKIError
from keyfob.pki.cfssl.documents import Table, read_document, write_document
from keyfob.pki.files import lock_folder, remove_leftovers, replace_file, write_together

# What comes of each key: the end of the file's name, and its mode before the umask. Both of a pair mean the same.
_KINDS: Mapping[tuple[str, ...], tuple[str, int]] = {
    ("cert", "certificate"): (".pem", 0o664),
    ("key", "private_key"): ("-key.pem", 0o600),
    ("encrypted_key",): ("-key.enc", 0o600),
    ("csr", "certificate_request"): (".csr", 0o644),
}
SECRET = 0o600


class Piece(NamedTuple):
    """A file to be: what its name ends with, its mode before the umask, and what is in it."""

    ending: str
    mode: int
    content: bytes
    is_binary: bool = False

    @property
    def text(self) -> str:
        """As `-stdout` shows it."""
        return base64.b64encode(self.content).decode("ascii") if self.is_binary else self.content.decode("utf-8")


def write_answer(certificate: str = "", csr: str = "", key: str = "") -> str:
    """The JSON object of these texts, those that are not empty, in Go's order of keys."""
    pieces = {"cert": certificate, "csr": csr, "key": key}
    return write_document({name: text for name, text in pieces.items() if text})


def read_answer(data: bytes, name: str, *, bare: bool) -> list[Piece]:
    """The files that an answer holds: bare, or in the envelope of cfssl's server. Raises PKIError."""
    # What else a server may say of what it has made is nothing to write.
    document = read_document(data, name, None)
    enveloped = document.has("success")
    if bare and enveloped:
        document.place.fail("comes in an envelope, as cfssl's server sends it", "leave -bare out")
    if not bare and not enveloped:
        document.place.fail("comes without the envelope of cfssl's server", "add -bare")
    pieces = list(_read_pieces(_open_envelope(document) if enveloped else document))
    if not pieces:
        document.place.fail("holds no certificate, key or CSR", "the command before it should have made one")
    return pieces


def _open_envelope(document: Table) -> Table:
    if not document.flag("success"):
        errors = document.tables("errors", None)
        said = "; ".join(filter(None, (each.text("message") for each in errors))) or "no reason is given"
        raise PKIError(f"the request has failed: {said}", "ask whoever keeps the server that has sent this")
    result = document.table("result", None)
    return (
        document.place.fail('has no "result"', "ask whoever keeps the server that has sent this")
        if result is None
        else result
    )


def _read_pieces(table: Table) -> Iterator[Piece]:
    for keys, (ending, mode) in _KINDS.items():
        key = next((each for each in keys if table.text(each)), None)
        if key is not None:
            yield Piece(ending, mode, _encode(table, key), is_binary=ending.endswith(".enc"))
    bundle = table.table("bundle", None)
    if bundle is not None:
        root = _encode(bundle, "root")
        yield Piece("-bundle.pem", 0o644, _encode(bundle, "bundle") + b"\n" + root)
        yield Piece("-root.pem", 0o644, root)
    if table.text("ocspResponse"):
        try:
            content = base64.b64decode(table.text("ocspResponse"), validate=True)
        except (binascii.Error, ValueError):
            table.fail("ocspResponse", "is no base64", "it comes from an OCSP signer as it is")
        yield Piece("-response.der", 0o644, content, is_binary=True)


def _encode(table: Table, key: str) -> bytes:
    try:
        return table.text(key).encode("utf-8")
    except UnicodeEncodeError:
        table.fail(key, "is no text", "half of a character stands in it")


def save(pieces: list[Piece], name: str) -> list[Path]:
    """Writes the files, all of them or none, and returns their paths. Raises PKIError.

    Whatever comes with a key is new, and written over nothing. Without one it may replace what was there before.
    """
    folder, stem = Path(name).parent, Path(name).name
    if stem in ("", "..") or name.endswith("/") or "\0" in name:
        raise PKIError(f"{name!r} is no name for files", "write the beginning of their names, such as ca")
    contents = {f"{stem}{each.ending}": each.content for each in pieces}
    with _held(folder):
        remove_leftovers(folder, contents)
        if any(each.mode == SECRET for each in pieces):
            write_together(folder, contents)
        else:
            for file, content in contents.items():
                replace_file(folder / file, content)
        for each in pieces:
            _open_for_others(folder / f"{stem}{each.ending}", each.mode)
    return [folder / file for file in contents]


def _open_for_others(path: Path, mode: int) -> None:
    """Gives a file the mode that it would have had if it had been made with it; they are made for their owner alone."""
    mask = os.umask(0o077)
    os.umask(mask)
    path.chmod(mode & ~mask)


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    try:
        with lock_folder(folder):
            yield
    except OSError as error:
        raise PKIError(f"{folder} cannot be written: {error.strerror}", "choose a folder that you own") from error
