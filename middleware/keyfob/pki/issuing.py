"""A device's files: certificate and key in the registry's folder, made, recorded and put in place as one step.

A new pair is written into a folder of its own first, `devices/.next/NAME`, which appears with both in it by one rename.
Then the certificate is recorded, and then the files take their places. Wherever that is interrupted, the next command
for the name goes on from there: no name has a certificate that nobody knows of, or half of a pair.
"""

import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding

from keyfob.certificate import UNREADABLE
from keyfob.errors import PKIError
from keyfob.inventory import Entry, NotInInventory
from keyfob.inventory.records import make_entry
from keyfob.pki.authority import DeviceRequest
from keyfob.pki.files import lock_folder, make_folder, write_together
from keyfob.pki.keys import PrivateKey, PublicKey, generate_key, read_key, write_key
from keyfob.pki.names import require_device_name
from keyfob.pki.registry import DAY, DEVICES, Registry, read_certificate
from keyfob.pki.requests import choose_kind, describe_kind, is_alike, repeat_request, require_request

NEXT = ".next"
_CERTIFICATE, _KEY = "certificate.pem", "key.pem"


class Made(NamedTuple):
    """A device's certificate, which is recorded, and its files. `key` is None if that was born elsewhere.

    `resumed` says that an interrupted command had made it, and this one has finished that.
    """

    certificate: x509.Certificate
    path: Path
    key: Path | None
    resumed: bool = False


def issue_device(
    registry: Registry, request: DeviceRequest, kind: str = "p256", public: PublicKey | None = None
) -> Made:
    """A new device's certificate on a new key, or on `public`, which was born elsewhere.

    Raises NameTaken, or another PKIError; then there are neither files nor a record.
    """
    require_request(request)
    # A passphrase is asked for here, and not while others wait.
    _ = registry.authority
    files = DeviceFiles(registry, request.name)
    with files.hold():
        left = files.settle()
        if left is None:
            registry.require_new(request.name)
            left = files.adopt(_add_to(registry))
        if left is not None:
            if _answers(left.certificate, request, kind, public):
                return left
            message = f"an interrupted command had made another certificate for {request.name!r}"
            raise PKIError(message, "it is recorded now; see `keyfob show`, and revoke it if it is not wanted")
        return files.make(request, kind, public, _add_to(registry))


def renew_device(
    registry: Registry,
    name: str,
    retires_at: float,
    kind: str | None = None,
    days: int | None = None,
    public: PublicKey | None = None,
) -> Made:
    """The successor of a device's certificate: what that says stays, and so do kind and days where none are given.

    The old one lives on until `retires_at`, in seconds since the epoch, and its files are replaced. Raises
    NotInInventory, or another PKIError; then the old files are as they were.
    """
    _ = registry.authority
    files = DeviceFiles(registry, name)
    with files.hold():
        left = files.settle()
        present = registry.inventory.find_present(name)
        if present is None:
            raise NotInInventory(f"there is no device {name!r} to renew", "see `keyfob list`")
        request = repeat_request(name, present.parsed)
        request = request if days is None else request._replace(days=days)

        def renew(entry: Entry) -> None:
            registry.inventory.renew(entry, int(retires_at), replaces=present.record.id)

        kind = kind or choose_kind(present.parsed.public_key())  # type: ignore[arg-type]
        left = left or files.adopt(renew)
        # One that was made long ago, or otherwise than is asked for now, is finished and renewed in its turn.
        if left is not None and _is_fresh(left.certificate) and _answers(left.certificate, request, kind, public):
            return left
        return files.make(request, kind, public, renew)


def settle_device(registry: Registry, name: str) -> Made | None:
    """Puts files in place that an interrupted command has left, for whoever reads them. Raises PKIError."""
    files = DeviceFiles(registry, name)
    if not files.are_staged():
        return None
    with files.hold():
        return files.settle()


def _add_to(registry: Registry) -> Callable[[Entry], None]:
    return lambda entry: registry.inventory.add([entry])


def _answers(certificate: x509.Certificate, request: DeviceRequest, kind: str, public: PublicKey | None) -> bool:
    key = certificate.public_key()
    fits = describe_kind(key) == kind if public is None else key == public
    lifetime = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    return fits and lifetime.days == request.days and is_alike(certificate, request)


def _is_fresh(certificate: x509.Certificate) -> bool:
    return time.time() - certificate.not_valid_before_utc.timestamp() < DAY


class DeviceFiles:
    """The files of one device. Everything but `hold` is to be called within it."""

    def __init__(self, registry: Registry, name: str) -> None:
        self.registry = registry
        self.name = require_device_name(name)
        self.folder = registry.folder / DEVICES
        self.certificate = self.folder / f"{name}.pem"
        self.key = self.folder / f"{name}-key.pem"
        self._staged = self.folder / NEXT / name

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Keeps other commands from the folder, and makes it if need be. Raises PKIError."""
        _ = self.registry.root
        make_folder(self.folder)
        with _explaining(self.folder), lock_folder(self.folder):
            _sweep(self.folder / NEXT)
            try:
                yield
            finally:
                with suppress(OSError):
                    (self.folder / NEXT).rmdir()

    def are_staged(self) -> bool:
        """Whether a command was interrupted, or another one is at work."""
        return self._staged.exists()

    def make(
        self, request: DeviceRequest, kind: str, public: PublicKey | None, record: Callable[[Entry], None]
    ) -> Made:
        """A certificate, recorded by `record`, with its files in place. Raises PKIError."""
        self._require_replaceable()
        key = generate_key(kind) if public is None else None
        certificate = self.registry.sign_unrecorded(request, public or key.public_key())  # type: ignore[union-attr]
        self._stage(certificate, key)
        self._record(certificate, record)
        return self._place(certificate)

    def settle(self) -> Made | None:
        """Finishes what was recorded already. None if there is no such thing. Raises PKIError."""
        certificate = self._read_staged()
        if certificate is None or not self._is_recorded(certificate):
            return None
        return self._place(certificate)._replace(resumed=True)

    def adopt(self, record: Callable[[Entry], None]) -> Made | None:
        """Records what was made for this name and never recorded, if there is such a thing. Raises PKIError."""
        certificate = self._read_staged()
        if certificate is not None:
            self._record(certificate, record)
            return self._place(certificate)._replace(resumed=True)
        certificate = self._read_stranger()
        if certificate is None:
            return None
        record(self._enter(certificate))
        return Made(certificate, self.certificate, self.key, resumed=True)

    def _stage(self, certificate: x509.Certificate, key: PrivateKey | None) -> None:
        contents = {_CERTIFICATE: certificate.public_bytes(Encoding.PEM)}
        if key is not None:
            contents[_KEY] = write_key(key)
        make_folder(self.folder / NEXT)
        unfinished = _name_unfinished(self.folder / NEXT)
        try:
            unfinished.mkdir(mode=0o700)
            write_together(unfinished, contents)
            unfinished.rename(self._staged)
            _sync(self._staged.parent)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise

    def _record(self, certificate: x509.Certificate, record: Callable[[Entry], None]) -> None:
        try:
            record(self._enter(certificate))
        except PKIError:
            # A database that falls silent may have recorded it all the same. If that cannot be told now, either, the
            # files wait for the next command.
            if not self._is_recorded(certificate):
                self._discard()
                raise

    def _enter(self, certificate: x509.Certificate) -> Entry:
        issuer = _find_issuer(certificate, (self.registry.authority.certificate, self.registry.root))
        if issuer is None:
            hint = "move it away, and see whether somebody else can sign in your name"
            raise PKIError(f"a certificate for {self.name!r} in {self.folder} is by nobody here", hint)
        return make_entry(self.name, certificate, issuer, time.time())

    def _is_recorded(self, certificate: x509.Certificate) -> bool:
        der = certificate.public_bytes(Encoding.DER)
        return any(each.certificate == der for each in self.registry.inventory.find(self.name))

    def _read_staged(self) -> x509.Certificate | None:
        return read_certificate(self._staged / _CERTIFICATE) if self._staged.exists() else None

    def _place(self, certificate: x509.Certificate) -> Made:
        """Puts the staged files in their places, however many of them are there already."""
        key = self._staged / _KEY
        has_key = key.exists()
        if has_key:
            _replace(key, self.key)
        else:
            self.key.unlink(missing_ok=True)
        _replace(self._staged / _CERTIFICATE, self.certificate)
        _sync(self.folder)
        self._discard()
        return Made(certificate, self.certificate, self.key if has_key else None)

    def _discard(self) -> None:
        finished = _name_unfinished(self._staged.parent)
        self._staged.rename(finished)
        shutil.rmtree(finished, ignore_errors=True)

    def _read_stranger(self) -> x509.Certificate | None:
        """A whole pair in the device's place, by this authority, that was never recorded."""
        if not self.certificate.exists() or not self.key.exists():
            return None
        certificate = read_certificate(self.certificate)
        if self._is_recorded(certificate) or not self._fits(certificate):
            return None
        issuer = _find_issuer(certificate, (self.registry.authority.certificate, self.registry.root))
        common_name = [each.value for each in certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]
        return certificate if issuer is not None and common_name == [self.name] else None

    def _fits(self, certificate: x509.Certificate) -> bool:
        """Whether the key in the device's place belongs to it."""
        return read_key(self.key.read_bytes(), str(self.key)).public_key() == certificate.public_key()

    def _require_replaceable(self) -> None:
        """What may be replaced is a pair of this device that is recorded. Raises PKIError for anything else."""
        if self.certificate.exists():
            certificate = read_certificate(self.certificate)
            if self._is_recorded(certificate) and (not self.key.exists() or self._fits(certificate)):
                return
            raise PKIError(f"{self.certificate} exists, and is not a file of this device", "move it away first")
        if self.key.exists():
            raise PKIError(f"{self.key} exists, and is never written over", "move it away first")


def _find_issuer(certificate: x509.Certificate, authorities: tuple[x509.Certificate, ...]) -> x509.Certificate | None:
    for authority in authorities:
        with suppress(InvalidSignature, *UNREADABLE):
            certificate.verify_directly_issued_by(authority)
            return authority
    return None


def _replace(source: Path, target: Path) -> None:
    """Puts `source`, which stays, into the place of `target` in one step."""
    # rename() does nothing where both are one file already, and would leave the third name behind.
    if target.exists() and target.samefile(source):
        return
    link = _name_unfinished(source.parent.parent)
    os.link(source, link)
    link.rename(target)


def _name_unfinished(folder: Path) -> Path:
    # No device's name begins with a dot.
    return folder / f".{secrets.token_hex(8)}"


def _sweep(folder: Path) -> None:
    """Removes what is there of unfinished steps."""
    for each in folder.glob(".*"):
        if each.is_dir():
            shutil.rmtree(each)
        else:
            each.unlink()


@contextmanager
def _explaining(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = error.filename or folder
        raise PKIError(
            f"{where} cannot be used: {error.strerror}", "is it yours, and is there room on the disk?"
        ) from error


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
