"""The folder that a first start fills: an authority, a server, a device, and the rules for them."""

import json
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from cryptography import x509

from keyfob.certificate import UNREADABLE
from keyfob.errors import PKIError
from keyfob.pki.authority import Authority
from keyfob.pki.files import lock_folder, remove_leftovers, write_together
from keyfob.pki.pkcs12 import export_identity, make_password

DEVICE_NAME = "My iPhone"
_OWN = "choose a folder that you own (was it made with sudo?)"
_RESTORE = "put it back from a backup, or move the folder away to begin anew"


class Home(NamedTuple):
    """The folder's files. `password` opens `device_p12` and is there only in the run that made it."""

    folder: Path
    password: str | None

    @property
    def authority(self) -> Path:
        """The CA's certificate: what devices trust, and what the gate holds their certificates against."""
        return self.folder / "ca.pem"

    @property
    def authority_key(self) -> Path:
        """The CA's key: whoever has it can make new keys to the door."""
        return self.folder / "ca-key.pem"

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
        """The device's certificate, as curl takes it."""
        return self.folder / "device.pem"

    @property
    def device_key(self) -> Path:
        """The device's key, as curl takes it."""
        return self.folder / "device-key.pem"

    @property
    def device_p12(self) -> Path:
        """The device's certificate and key, as phones take them."""
        return self.folder / "device.p12"

    @property
    def secrets(self) -> tuple[Path, ...]:
        """The files that nobody else may read."""
        return self.authority_key, self.server_key, self.device_key, self.device_p12

    @property
    def config(self) -> Path:
        """The rules."""
        return self.folder / "access.toml"


def open_home(folder: Path, hosts: Sequence[str]) -> Home:
    """The folder with everything in it; what is missing is made, what is there is kept.

    `hosts` are the names and addresses under which the server can be reached, the most usual one first. Raises
    PKIError if the folder cannot be used, or if half of a pair is missing.
    """
    home = Home(folder.absolute(), None)
    _make_folder(home.folder)
    try:
        with lock_folder(home.folder):
            remove_leftovers(home.folder, (path.name for path in home.secrets))
            return _fill(home, hosts)
    except OSError as error:
        raise PKIError(f"{error.filename or home.folder} cannot be used: {error.strerror}", _OWN) from error


def _fill(home: Home, hosts: Sequence[str]) -> Home:
    _require_private(home)
    server_missing, device_missing = _missing(home.server, home.server_key), _missing(home.device, home.device_key)
    # The CA's key may be kept elsewhere, as long as there is nothing to sign.
    if server_missing or device_missing or home.authority_key.exists() or not home.authority.exists():
        authority = _open_authority(home)
        if server_missing:
            issued = authority.issue_server(hosts)
            _write(home, {home.server: issued.certificate_pem, home.server_key: issued.key_pem})
        if device_missing:
            home = _make_device(home, authority)
    if _missing(home.config):
        _write(home, {home.config: _compose_config(hosts).encode("utf-8")})
    _require_current(home)
    return home


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


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise PKIError(f"{folder} cannot be made: {error.strerror}", "set KEYFOB_HOME to a folder you own") from error


def _open_authority(home: Home) -> Authority:
    if _missing(home.authority, home.authority_key):
        if home.server.exists() or home.device.exists():
            hint = "put ca.pem and ca-key.pem back, or move the folder away to begin anew"
            raise PKIError(f"{home.authority} is missing, but certificates of it are there", hint)
        authority = Authority.create("keyfob CA")
        pair = {home.authority: authority.issued.certificate_pem, home.authority_key: authority.issued.key_pem}
        _write(home, pair)
        return authority
    try:
        return Authority.load(home.authority.read_bytes(), home.authority_key.read_bytes())
    except OSError as error:
        raise PKIError(f"{error.filename} cannot be read: {error.strerror}", _RESTORE) from error
    except PKIError as error:
        both = f"{home.authority} and {home.authority_key.name}"
        raise PKIError(f"{both}: {error.message}", error.hint or _RESTORE) from error


def _make_device(home: Home, authority: Authority) -> Home:
    issued, password = authority.issue_device(DEVICE_NAME), make_password()
    if home.device_p12.exists():
        raise PKIError(f"{home.device_p12} is there, but its PEM pair is missing", "move it away, or put the pair back")
    contents = {
        # First, because a pair without it looks like one whose owner deleted it.
        home.device_p12: export_identity(issued, DEVICE_NAME, password),
        home.device: issued.certificate_pem,
        home.device_key: issued.key_pem,
    }
    _write(home, contents)
    return home._replace(password=password)


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


def _compose_config(hosts: Sequence[str]) -> str:
    """The walkthrough's policy for these hosts. JSON's strings are TOML's basic strings."""
    listed = json.dumps(list(hosts))
    return _CONFIG.format(hosts=listed, domain=json.dumps(hosts[0]), name=json.dumps(DEVICE_NAME))


_CONFIG = """\
# Who may come in, and with what. The README explains every word; `keyfob serve` reads it when it starts.

[source]
kind = "tls"                # the certificate of the TLS connection itself

[[root_certificates]]
name = "keyfob CA"
certificate = "ca.pem"      # relative to this file
associated_hostnames = {hosts}

[[applications]]
name = "Budget"
domain = {domain}
self_hosted_domains = {hosts}

[[applications.policies]]
name = "My own device"
decision = "non_identity"   # no login: the certificate is enough
include = [{{ certificate = {{}} }}]
require = [{{ common_name = {{ common_name = {name} }} }}]
"""
