"""Batches for tests: files with rows, and what has become of them, judged without `keyfob.pki.batch`."""

import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from keyfob.pki.registry import Registry


def write_rows(path: Path, names: Iterable[str]) -> Path:
    """A CSV file with nothing but names."""
    path.write_text("".join(f"{name}\n" for name in ["name", *names]), encoding="utf-8")
    return path


def read_files(out: Path) -> dict[str, bytes]:
    """Every file of a folder or bundle, but for what a batch keeps for itself."""
    if out.suffix == ".zip":
        with zipfile.ZipFile(out) as archive:
            assert len(set(archive.namelist())) == len(archive.namelist())
            return {name: archive.read(name) for name in archive.namelist()}
    return {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}


def require_one_each(registry: Registry, names: Iterable[str], out: Path) -> None:
    """Exactly one certificate for each name: one pair of files that belong together, and one record of it."""
    names, files = sorted(names), read_files(out)
    records = {record.name: record for record in registry.inventory.iterate()}
    assert sorted(records) == names
    assert registry.inventory.count() == len(names)
    assert sorted(files) == sorted([f"{name}{end}.pem" for name in names for end in ("", "-key")])
    for name in names:
        certificate = require_pair(files, name)
        certificate.verify_directly_issued_by(registry.authority.certificate)
        assert certificate.fingerprint(hashes.SHA256()) == records[name].fingerprint
        assert certificate.serial_number == int.from_bytes(records[name].serial)
        assert int(certificate.not_valid_after_utc.timestamp()) == records[name].not_after
    assert len({record.serial for record in records.values()}) == len(names)


def require_pair(files: Mapping[str, bytes], name: str) -> x509.Certificate:
    """The certificate of a device, whose key is beside it."""
    certificate = x509.load_pem_x509_certificate(files[f"{name}.pem"])
    assert load_pem_private_key(files[f"{name}-key.pem"], None).public_key() == certificate.public_key()
    assert certificate.subject.rfc4514_string() == f"CN={name}"
    return certificate


def require_tidy(out: Path) -> None:
    """Nothing is left over beside what was asked for, and nobody else can read any of it."""
    hidden = [path.name for path in out.parent.iterdir() if path.name.startswith(".")]
    assert not hidden
    if out.is_dir():
        assert out.stat().st_mode & 0o777 == 0o700
        assert not [path.name for path in out.iterdir() if path.name.startswith(".")]
        assert {path.stat().st_mode & 0o777 for path in out.iterdir()} == {0o600}
    else:
        assert out.stat().st_mode & 0o777 == 0o600
