"""Exports: the files in which a device's key is carried to where it is used. A closed table, one row a format."""

import shlex
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding

from keyfob.certificate import UNREADABLE
from keyfob.errors import PKIError
from keyfob.inventory import Inventory, NotInInventory, State
from keyfob.pki.authority import Issued
from keyfob.pki.keys import Passphrase, PrivateKey, is_encrypted, read_key, write_key
from keyfob.pki.names import require_device_name
from keyfob.pki.pkcs12 import export_identity
from keyfob.pki.profiles import (
    MEDIA_TYPE,
    Payload,
    identity_payload,
    make_identifier,
    make_profile,
    root_payload,
    sign_profile,
    web_clip,
)
from keyfob.pki.registry import DEVICES, INTERMEDIATE, ROOT, read_certificate


class App(NamedTuple):
    """What the icon on the home screen opens, and how it looks: a PNG."""

    url: str
    name: str
    icon: bytes


class Signer(NamedTuple):
    """Who signs a profile, with the intermediates above."""

    certificate: x509.Certificate
    key: PrivateKey
    chain: tuple[x509.Certificate, ...] = ()


class Export(NamedTuple):
    """What is carried: a device's identity, and what a format has room for beside it."""

    issued: Issued
    name: str
    root: x509.Certificate
    chain: tuple[x509.Certificate, ...] = ()
    """The intermediates between the two."""
    with_root: bool = True
    app: App | None = None
    signer: Signer | None = None


class Format(NamedTuple):
    """One row: how it is called, what it is for a browser and a file system, who takes it, and how it is made."""

    name: str
    media_type: str
    ending: str
    readers: str
    compose: Callable[[Export, str], bytes]
    """The file, in which the key is encrypted with the password. Raises PKIError."""


def compose_p12(export: Export, password: str) -> bytes:
    """PKCS#12 with triple DES and a SHA-1 MAC."""
    return export_identity(export.issued, export.name, password)


def compose_modern_p12(export: Export, password: str) -> bytes:
    """PKCS#12 with AES-256 and a SHA-256 MAC."""
    return export_identity(export.issued, export.name, password, modern=True)


def compose_profile(export: Export, password: str) -> bytes:
    """An Apple profile with the PKCS#12 in it, for whose password the phone asks; signed if there is a signer."""
    app = export.app
    identifier = make_identifier(export.root, export.name, app.url if app else "")
    payloads: list[Payload] = []
    if export.with_root:
        payloads.append(root_payload(export.root, identifier))
    payloads.append(identity_payload(compose_p12(export, password), export.name, identifier))
    if app:
        payloads.append(web_clip(app.url, app.name, app.icon, identifier))
    title = f"{app.name} ({export.name})" if app else export.name
    profile = make_profile(title, _read_organization(export.root), identifier, payloads)
    return sign_profile(profile, *export.signer) if export.signer else profile


def compose_pem(export: Export, password: str) -> bytes:
    """The certificate, the intermediates above it, and the encrypted key (PKCS#8): one text, as `curl --cert` reads."""
    certificates = (export.issued.certificate, *export.chain)
    return b"".join(each.public_bytes(Encoding.PEM) for each in certificates) + write_key(export.issued.key, password)


FORMATS: Mapping[str, Format] = {
    row.name: row
    for row in (
        Format(
            "p12",
            "application/x-pkcs12",
            "p12",
            "every iPhone, iPad, Mac, Android phone, Windows, Firefox and Chrome",
            compose_p12,
        ),
        Format(
            "p12-modern",
            "application/x-pkcs12",
            "p12",
            "iOS 18, Android 14, Windows 10 and Firefox, and what came after; no Mac's keychain",
            compose_modern_p12,
        ),
        Format(
            "mobileconfig",
            MEDIA_TYPE,
            "mobileconfig",
            "iPhone and iPad: the key, the CA and the app's icon in one step",
            compose_profile,
        ),
        Format("pem", "application/x-pem-file", "pem", "curl, Python and other programs", compose_pem),
    )
}


def collect_export(folder: Path, inventory: Inventory, name: str, devices: Path | None = None) -> Export:
    """What the folder holds of a device, if that is the certificate that counts, and its key is there.

    `devices` is where a batch has put its files, if not into the folder's own.

    Raises NotInInventory for a device that nobody knows, and PKIError for one that is revoked or has ended, and for
    files that are missing, unreadable, open to others, or do not belong together.
    """
    certificate = _find_certificate(inventory, require_device_name(name))
    devices = folder / DEVICES if devices is None else devices
    here, key_file = devices / f"{name}.pem", devices / f"{name}-key.pem"
    if not key_file.exists():
        message = f"{key_file} is missing: the key of {name!r} was born elsewhere, or taken away"
        raise PKIError(
            message, "a batch's keys are where its --out says (--from); whoever has the key elsewhere needs no export"
        )
    if not here.exists() or read_certificate(here) != certificate:
        message = f"{here} is not the certificate of {name!r} that counts"
        raise PKIError(message, "put the right one back from a backup, or renew the device")
    key = _read_private_key(key_file)
    if key_file.stat().st_mode & 0o077:
        raise PKIError(f"{key_file} can be read by others", f"chmod 600 {shlex.quote(str(key_file))}")
    if key.public_key() != certificate.public_key():
        raise PKIError(
            f"{here} and {key_file.name} do not belong together", "put the pair back together, or renew the device"
        )
    root = read_certificate(folder / ROOT)
    return Export(Issued(certificate, key), name, root, _find_chain(folder, certificate, root))


def read_signer(
    certificate: Path, key: Path, chain: Path | None = None, passphrase: Passphrase | None = None
) -> Signer:
    """Who signs profiles. Intermediates stand behind the certificate in its own file, or in `chain`.

    Raises PKIError.
    """
    first, *others = _read_certificates(certificate)
    above = [*others, *(_read_certificates(chain) if chain else ())]
    return Signer(first, _read_private_key(key, passphrase), tuple(above))


def _read_private_key(path: Path, passphrase: Passphrase | None = None) -> PrivateKey:
    try:
        pem = path.read_bytes()
    except OSError as error:
        raise PKIError(f"{path} cannot be read: {error.strerror}", "is it there, and is it yours?") from error
    if passphrase is None and is_encrypted(pem):
        raise PKIError(f"{path} is encrypted", "give it without a passphrase, in a file for you alone")
    return read_key(pem, str(path), passphrase)


def _read_certificates(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise PKIError(f"{path} cannot be read: {error.strerror}", "is it there, and is it yours?") from error
    except UNREADABLE as error:
        raise PKIError(f"{path} cannot be read as certificates: {error}", "write them in PEM") from error


def _find_certificate(inventory: Inventory, name: str) -> x509.Certificate:
    present = inventory.find_present(name)
    if present is not None:
        if present.record.find_state(time.time()) is State.EXPIRED:
            ended = datetime.fromtimestamp(present.record.not_after, UTC)
            raise PKIError(f"the certificate of {name!r} ended on {ended:%Y-%m-%d}", "renew the device")
        return present.parsed
    if any(each.record.name == name for each in inventory.find(name)):
        raise PKIError(f"{name!r} is revoked, and opens nothing any more", "issue a new certificate under that name")
    raise NotInInventory(f"there is no device {name!r}", "see `keyfob list`")


def _find_chain(folder: Path, certificate: x509.Certificate, root: x509.Certificate) -> tuple[x509.Certificate, ...]:
    below = folder / INTERMEDIATE
    if below.exists() and _has_issued(intermediate := read_certificate(below), certificate):
        return (intermediate,)
    if _has_issued(root, certificate):
        return ()
    raise PKIError(
        f"neither {folder / ROOT} nor {INTERMEDIATE} has issued this certificate", "put the right ones back, or renew"
    )


def _has_issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _read_organization(root: x509.Certificate) -> str:
    named = [str(each.value) for each in root.subject if each.oid == x509.NameOID.COMMON_NAME]
    return named[0] if named else "keyfob"
