"""Registries for tests: an authority and an inventory in a folder, as `keyfob ca init` makes them."""

from pathlib import Path

from keyfob.pki.founding import found_registry
from keyfob.pki.registry import Registry


def make_registry(folder: Path, name: str = "Money App Test", inventory: str | None = None) -> Registry:
    """A registry on P-256 without a passphrase; the folder is made."""
    return found_registry(folder, name, inventory=inventory)
