"""Registry: the devices of one folder. Its authority signs, its inventory remembers; nothing is signed unrecorded."""

import time
from functools import cached_property
from pathlib import Path

from cryptography import x509

from keyfob.certificate import UNREADABLE
from keyfob.errors import PKIError
from keyfob.inventory import Inventory, NameTaken, NotInInventory, open_inventory
from keyfob.inventory.records import make_entry
from keyfob.pki.authority import Authority, DeviceRequest, Issued
from keyfob.pki.keys import Passphrase, PublicKey, generate_key, require_public_key
from keyfob.pki.names import require_device_name

# In the folder, and what is called so in the README.
ROOT, ROOT_KEY = "ca.pem", "ca-key.pem"
INTERMEDIATE, INTERMEDIATE_KEY = "intermediate.pem", "intermediate-key.pem"
# The intermediate, if there is one, and the root: what a server holds devices against.
BUNDLE = "bundle.pem"
INVENTORY = "inventory.db"
# A file with the URL of an inventory elsewhere.
INVENTORY_URL = "inventory.url"
DEVICES = "devices"

DAY = 86400


class Registry:
    """The authority and the inventory of a folder. `passphrase` is asked once, and only if a key is encrypted."""

    def __init__(self, folder: Path, inventory: str | None = None, passphrase: Passphrase | None = None) -> None:
        """`inventory` is a path or URL in place of the folder's own. Opens nothing yet."""
        self.folder = folder
        self._where = inventory
        self._passphrase = passphrase

    @cached_property
    def inventory(self) -> Inventory:
        """Raises PKIError if it is not there, or cannot be used."""
        return open_inventory(find_inventory(self.folder, self._where))

    @cached_property
    def root(self) -> x509.Certificate:
        """What devices trust. Raises PKIError."""
        return read_certificate(self.folder / ROOT)

    @cached_property
    def authority(self) -> Authority:
        """The one that signs devices: the intermediate, where there is one. Raises PKIError."""
        below = (self.folder / INTERMEDIATE).exists()
        names = (INTERMEDIATE, INTERMEDIATE_KEY) if below else (ROOT, ROOT_KEY)
        return load_authority(self.folder, *names, self._passphrase)

    def issue(self, request: DeviceRequest, kind: str = "p256") -> Issued:
        """A new device's certificate on a new key, recorded. Raises NameTaken."""
        key = generate_key(kind)
        return Issued(self.sign(request, key.public_key()), key)

    def sign(self, request: DeviceRequest, key: PublicKey) -> x509.Certificate:
        """A new device's certificate on a key that was born elsewhere, recorded. Raises NameTaken."""
        self.require_new(request.name)
        certificate = self.sign_unrecorded(request, key)
        self.record(request.name, certificate)
        return certificate

    def renew(self, request: DeviceRequest, key: PublicKey, retires_at: float) -> x509.Certificate:
        """The successor of a device's certificate, recorded; the old one lives on until `retires_at`.

        Raises NotInInventory if there is none.
        """
        if self.inventory.find_present(request.name) is None:
            raise NotInInventory(f"there is no device {request.name!r} to renew", "see `keyfob list`")
        certificate = self.sign_unrecorded(request, key)
        entry = make_entry(request.name, certificate, self.authority.certificate, time.time())
        self.inventory.renew(entry, int(retires_at))
        return certificate

    def sign_invited(
        self, request: DeviceRequest, key: PublicKey, invitation: int, retires_at: float | None = None
    ) -> x509.Certificate:
        """What an invitation promises, recorded unless that was cancelled meanwhile. With `retires_at`, a successor.

        Raises NameTaken, NotInInventory, or another PKIError.
        """
        if retires_at is None:
            self.require_new(request.name)
        certificate = self.sign_unrecorded(request, key)
        entry = make_entry(request.name, certificate, self.authority.certificate, time.time())
        self.inventory.add_invited(entry, invitation, None if retires_at is None else int(retires_at))
        return certificate

    def sign_unrecorded(self, request: DeviceRequest, key: PublicKey) -> x509.Certificate:
        """For whoever writes a file first and calls `record` or `renew` of the inventory then."""
        require_device_name(request.name)
        return self.authority.sign_device(request, require_public_key(key, request.name))

    def record(self, name: str, certificate: x509.Certificate) -> None:
        """Records a certificate of this authority. Raises NameTaken."""
        self.inventory.add([make_entry(name, certificate, self.authority.certificate, time.time())])

    def require_new(self, name: str) -> None:
        """Raises NameTaken before anything was made in vain."""
        require_device_name(name)
        if self.inventory.find_present(name) is not None:
            raise NameTaken(f"{name!r} has a certificate already", "renew or revoke it, or take another name")


def find_inventory(folder: Path, where: str | None = None) -> str | Path:
    """Where a folder's inventory is: `where` if given, what inventory.url says, or inventory.db. Raises PKIError."""
    if where:
        return where
    told = folder / INVENTORY_URL
    return _read(told).decode("utf-8", "replace").strip() if told.exists() else folder / INVENTORY


def load_authority(folder: Path, certificate: str, key: str, passphrase: Passphrase | None) -> Authority:
    """The authority of two files. Raises PKIError, naming them."""
    try:
        return Authority.load(_read(folder / certificate), _read(folder / key), passphrase)
    except PKIError as error:
        raise PKIError(f"{folder / certificate} and {key}: {error.message}", error.hint) from error


def read_certificate(path: Path) -> x509.Certificate:
    """The first certificate of a PEM file. Raises PKIError."""
    try:
        certificate = x509.load_pem_x509_certificate(_read(path))
        _ = certificate.extensions
    except UNREADABLE as error:
        raise PKIError(f"{path} cannot be read as a certificate: {error}", "put it back from a backup") from error
    return certificate


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise PKIError(
            f"{path} is missing", "make an authority with `keyfob ca init`, or name its folder with --home"
        ) from error
    except OSError as error:
        raise PKIError(f"{path} cannot be read: {error.strerror}", "is it yours?") from error
