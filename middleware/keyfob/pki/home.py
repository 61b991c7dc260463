"""The folder that a first start fills: an authority, a server, a device, the inventory, and the rules for them."""

import json
import shlex
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from cryptography import x509

from keyfob.certificate import UNREADABLE
from keyfob.errors import PKIError
from keyfob.pki.authority import DeviceRequest
from keyfob.pki.files import lock_folder, make_folder, remove_leftovers, write_together
from keyfob.pki.founding import make_root, write_bundle
from keyfob.pki.issuing import issue_device, renew_device, settle_device
from keyfob.pki.keys import Passphrase, is_encrypted
from keyfob.pki.ra import RA_KEY
from keyfob.pki.registry import (
    BUNDLE,
    DEVICES,
    INTERMEDIATE,
    INTERMEDIATE_KEY,
    INVENTORY,
    INVENTORY_URL,
    ROOT,
    ROOT_KEY,
    Registry,
    find_inventory,
    load_authority,
)
from keyfob.pki.resumption import finish_together

# The first device: whoever starts the server can try it at once.
DEVICE_NAME = "this-computer"
# What is written in one step, and may be found half in place after that was interrupted.
_TOGETHER = ((ROOT, ROOT_KEY, BUNDLE), (INTERMEDIATE, INTERMEDIATE_KEY), ("server.pem", "server-key.pem"))
_TICK = 0.03
_OWN = "choose a folder that you own (was it made with sudo?)"
_RESTORE = "put it back from a backup, or move the folder away to begin anew"


class Home(NamedTuple):
    """The folder's files."""

    folder: Path

    @property
    def authority(self) -> Path:
        """The root's certificate: what devices trust."""
        return self.folder / ROOT

    @property
    def authority_key(self) -> Path:
        """The root's key: whoever has it can make new keys to the door."""
        return self.folder / ROOT_KEY

    @property
    def bundle(self) -> Path:
        """The intermediate, where there is one, and the root: what the gate holds devices against."""
        return self.folder / BUNDLE

    @property
    def server(self) -> Path:
        """The server's certificate."""
        return self.folder / "server.pem"

    @property
    def server_key(self) -> Path:
        """The server's key."""
        return self.folder / "server-key.pem"

    @property
    def device(self) -> Path:
        """The first device's certificate, as curl takes it."""
        return self.folder / DEVICES / f"{DEVICE_NAME}.pem"

    @property
    def device_key(self) -> Path:
        """The first device's key, as curl takes it."""
        return self.folder / DEVICES / f"{DEVICE_NAME}-key.pem"

    @property
    def secrets(self) -> tuple[Path, ...]:
        """The files that nobody else may read."""
        names = (ROOT_KEY, INTERMEDIATE_KEY, RA_KEY, INVENTORY, INVENTORY_URL)
        return *(self.folder / name for name in names), self.server_key, self.device_key

    @property
    def config(self) -> Path:
        """The rules."""
        return self.folder / "access.toml"

    def registry(self, passphrase: Passphrase | None = None) -> Registry:
        """The folder's authority and inventory."""
        return Registry(self.folder, None, passphrase)


def open_home(folder: Path, hosts: Sequence[str], passphrase: Passphrase | None = None) -> Home:
    """The folder with everything in it; what is missing is made, what is there is kept.

    `hosts` are the names and addresses under which the server can be reached, the most usual one first. Raises
    PKIError if the folder cannot be used, or if half of a pair is missing.
    """
    home = Home(folder.absolute())
    make_folder(home.folder)
    try:
        with lock_folder(home.folder):
            for names in _TOGETHER:
                finish_together(home.folder, names)
                remove_leftovers(home.folder, names)
            _fill(home, hosts, passphrase)
    except OSError as error:
        raise PKIError(f"{error.filename or home.folder} cannot be used: {error.strerror}", _OWN) from error
    return home


def _fill(home: Home, hosts: Sequence[str], passphrase: Passphrase | None) -> None:
    _require_private(home)
    _ensure_root(home)
    registry = home.registry(passphrase)
    # Never made anew beside an authority: an empty one would let everybody in again who was withdrawn.
    registry.inventory.close()
    write_bundle(home.folder)
    if _missing(home.server, home.server_key):
        _make_server(home, registry, hosts)
    _ensure_device(home, registry)
    if _missing(home.config):
        _write(home, {home.config: _compose_config(home, hosts).encode("utf-8")})
        # Whoever reads a file that is younger than a tick of the kernel's clock reads it once more, and says so.
        time.sleep(_TICK)
    _require_current(home)


def _require_private(home: Home) -> None:
    """Keys that others can read are no keys; made here they cannot be, so somebody opened them up."""
    if home.folder.stat().st_mode & 0o022:
        raise PKIError(f"{home.folder} can be written to by others", f"chmod 700 {shlex.quote(str(home.folder))}")
    for path in home.secrets:
        if path.exists() and path.stat().st_mode & 0o077:
            raise PKIError(f"{path} can be read by others", f"chmod 600 {shlex.quote(str(path))}")


def unnamed_hosts(home: Home, hosts: Sequence[str]) -> list[str]:
    """Which of `hosts` the server's certificate does not name, so that browsers would warn there."""
    certificate = x509.load_pem_x509_certificate(home.server.read_bytes())
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return list(hosts)
    known = {*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))}
    return [host for host in hosts if host not in known]


def read_device(home: Home) -> tuple[str, datetime]:
    """The device's common name, and when its certificate ends (aware, UTC). Raises PKIError."""
    try:
        device = x509.load_pem_x509_certificate(home.device.read_bytes())
        return device.subject.rfc4514_string().removeprefix("CN="), device.not_valid_after_utc
    except (OSError, *UNREADABLE) as error:
        raise PKIError(f"{home.device} cannot be read as a certificate: {error}", _RESTORE) from error


def _ensure_root(home: Home) -> None:
    """A root of one's own. Its key may be kept elsewhere, as long as there is nothing to sign with it."""
    if home.authority_key.exists() or not home.authority.exists():
        if _missing(home.authority, home.authority_key):
            if home.server.exists() or home.device.exists():
                hint = "put ca.pem and ca-key.pem back, or move the folder away to begin anew"
                raise PKIError(f"{home.authority} is missing, but certificates of it are there", hint)
            make_root(home.folder, "keyfob CA")
        elif not is_encrypted(home.authority_key.read_bytes()):
            _require_pair(home)


def _require_pair(home: Home) -> None:
    try:
        load_authority(home.folder, ROOT, ROOT_KEY, None)
    except PKIError as error:
        raise PKIError(error.message, error.hint or _RESTORE) from error


def _make_server(home: Home, registry: Registry, hosts: Sequence[str]) -> None:
    issued, signer = registry.authority.issue_server(hosts), registry.authority.issued
    # Browsers know the root alone: what is between it and the server has to come along.
    chain = b"" if signer.certificate == registry.root else signer.certificate_pem
    _write(home, {home.server: issued.certificate_pem + chain, home.server_key: issued.key_pem})


def _ensure_device(home: Home, registry: Registry) -> None:
    """The first device; one that an interrupted start has left is recorded now."""
    settle_device(registry, DEVICE_NAME)
    present = registry.inventory.find_present(DEVICE_NAME)
    if not _missing(home.device, home.device_key):
        if not registry.inventory.find(DEVICE_NAME):
            issue_device(registry, DeviceRequest(DEVICE_NAME))
    elif present is None:
        issue_device(registry, DeviceRequest(DEVICE_NAME))
    else:
        # Its files were deleted, which is how one asks for new ones: nobody shall have the old ones.
        renew_device(registry, DEVICE_NAME, time.time())


def _missing(*paths: Path) -> bool:
    """Whether all of these are to be made. A pair of which one half is left is neither made nor used."""
    try:
        there = [path for path in paths if path.exists()]
    except OSError as error:
        raise PKIError(f"{error.filename} cannot be looked for: {error.strerror}", _OWN) from error
    if there and len(there) < len(paths):
        gone = next(path for path in paths if path not in there)
        raise PKIError(f"{there[0]} is there, but {gone.name} is missing", "put it back, or move the other one away")
    return not there


def _write(home: Home, contents: dict[Path, bytes]) -> None:
    write_together(home.folder, {path.name: data for path, data in contents.items()})


def _require_current(home: Home) -> None:
    """A certificate that has ended would refuse every visitor without a word on this side."""
    for path in (home.authority, home.server):
        try:
            ended = x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
        except (OSError, *UNREADABLE) as error:
            raise PKIError(f"{path} cannot be read as a certificate: {error}", _RESTORE) from error
        if ended < datetime.now(UTC):
            gone = f"{path.name} and {path.stem}-key.pem" if path == home.server else "the whole folder"
            hint = f"move {gone} away, and the next start makes everything anew"
            raise PKIError(f"{path} ended on {ended:%Y-%m-%d}", hint)


def _compose_config(home: Home, hosts: Sequence[str]) -> str:
    """The rules for these hosts. JSON's strings are TOML's basic strings."""
    where = find_inventory(home.folder)
    inventory = where.name if isinstance(where, Path) else where
    return _CONFIG.format(hosts=json.dumps(list(hosts)), domain=json.dumps(hosts[0]), inventory=json.dumps(inventory))


_CONFIG = """\
# Who may come in, and with what. The README explains every word; what is written here is in force within a second.

[source]
kind = "tls"                # the certificate of the TLS connection itself

[[root_certificates]]
name = "keyfob CA"
certificate = "bundle.pem"  # relative to this file
inventory = {inventory}  # where `keyfob revoke` writes down what counts no longer
associated_hostnames = {hosts}

[renewal]
link = "/.keyfob/renew"     # where a device renews its certificate in its last days

[[applications]]
name = "Budget"
domain = {domain}
self_hosted_domains = {hosts}

[[applications.policies]]
name = "My own devices"
decision = "non_identity"   # no login: the certificate is enough
include = [{{ certificate = {{}} }}]
# One device alone? Take the # away, and write its name as `keyfob list` shows it.
# require = [{{ common_name = {{ common_name = "My iPhone" }} }}]
"""
