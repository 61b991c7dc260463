"""Founds what a registry needs: a root, later perhaps an intermediate, and an empty inventory."""

from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from keyfob.errors import PKIError
from keyfob.inventory import open_inventory
from keyfob.pki.authority import AUTHORITY_DAYS, INTERMEDIATE_DAYS, Authority
from keyfob.pki.files import lock_folder, make_folder, remove_leftovers, replace_file, write_together
from keyfob.pki.keys import Passphrase, write_key
from keyfob.pki.registry import (
    BUNDLE,
    INTERMEDIATE,
    INTERMEDIATE_KEY,
    INVENTORY_URL,
    ROOT,
    ROOT_KEY,
    Registry,
    find_inventory,
    load_authority,
    read_certificate,
)


def found_registry(
    folder: Path,
    name: str,
    kind: str = "p256",
    days: int = AUTHORITY_DAYS,
    passphrase: str | None = None,
    inventory: str | None = None,
) -> Registry:
    """A new root in `folder`, and its inventory: there, or where `inventory` says.

    The key is encrypted if there is a passphrase. Raises PKIError if there is an authority already; then, as after any
    other error, nothing has changed.
    """
    make_folder(folder)
    with lock_folder(folder):
        remove_leftovers(folder, (ROOT, ROOT_KEY, BUNDLE, INVENTORY_URL))
        make_root(folder, name, kind, days, passphrase, inventory)
    return Registry(folder, None, lambda: passphrase)


def make_root(
    folder: Path,
    name: str,
    kind: str = "p256",
    days: int = AUTHORITY_DAYS,
    passphrase: str | None = None,
    inventory: str | None = None,
) -> None:
    """The same, for whoever has locked the folder."""
    for each in (ROOT, ROOT_KEY):
        if (folder / each).exists():
            raise PKIError(f"{folder / each} exists and is never written over", "take another folder with --home")
    # Before the keys are there: a database that cannot be reached must not leave half of it.
    open_inventory(find_inventory(folder, inventory), create=True).close()
    authority = Authority.create(name, days, kind)
    contents = {
        ROOT: authority.issued.certificate_pem,
        ROOT_KEY: write_key(authority.issued.key, passphrase),
        BUNDLE: authority.issued.certificate_pem,
    }
    if inventory is not None:
        contents[INVENTORY_URL] = f"{inventory}\n".encode()
    write_together(folder, contents)


def found_intermediate(
    folder: Path,
    name: str,
    kind: str = "p256",
    days: int = INTERMEDIATE_DAYS,
    root_passphrase: Passphrase | None = None,
    passphrase: str | None = None,
) -> Authority:
    """A new intermediate below the folder's root; from then on it signs the devices, and the root's key can leave.

    Raises PKIError.
    """
    with lock_folder(folder):
        remove_leftovers(folder, (INTERMEDIATE, INTERMEDIATE_KEY, BUNDLE))
        root = load_authority(folder, ROOT, ROOT_KEY, root_passphrase)
        authority = root.issue_intermediate(name, days, kind)
        pair = {
            INTERMEDIATE: authority.issued.certificate_pem,
            INTERMEDIATE_KEY: write_key(authority.issued.key, passphrase),
        }
        write_together(folder, pair)
        write_bundle(folder)
    return authority


def write_bundle(folder: Path) -> None:
    """Makes the bundle, the intermediate and the root, where it is missing or is yet to learn of the intermediate.

    A bundle that somebody else has written stays as it is.
    """
    present = [name for name in (INTERMEDIATE, ROOT) if (folder / name).exists()]
    pems = [read_certificate(folder / name).public_bytes(Encoding.PEM) for name in present]
    bundle = folder / BUNDLE
    if not bundle.exists():
        write_together(folder, {BUNDLE: b"".join(pems)})
    elif len(pems) > 1 and bundle.read_bytes() == pems[-1]:
        replace_file(bundle, b"".join(pems))
