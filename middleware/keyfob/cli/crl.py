"""`keyfob crl`: what has been withdrawn, as a list for servers that do not read the inventory."""

from pathlib import Path

import click

from keyfob.cli.ca import ask_root
from keyfob.cli.options import FILE, open_registry, registry_options, talk
from keyfob.cli.passphrase import ROOT_VARIABLE, ask_for
from keyfob.cli.terminal import escape, say
from keyfob.errors import PKIError
from keyfob.pki.authority import LONGEST_DAYS, Authority
from keyfob.pki.crl import CRL_DAYS, remove_unfinished, write_crls
from keyfob.pki.files import lock_folder
from keyfob.pki.registry import INTERMEDIATE, INTERMEDIATE_KEY, ROOT, ROOT_KEY, Registry, load_authority


@click.command("crl")
@registry_options
@click.option(
    "--root-passphrase-file",
    type=FILE,
    help=f"A file with the passphrase of the root's key, if that is another one; or {ROOT_VARIABLE}.",
)
@click.option(
    "--days", type=click.IntRange(1, LONGEST_DAYS), default=CRL_DAYS, show_default=True, help="How long it is good for."
)
@click.option("--out", type=FILE, help="One file for all lists, in place of ca.crl and intermediate.crl in the folder.")
def crl_command(
    home: Path,
    inventory: str | None,
    passphrase_file: Path | None,
    root_passphrase_file: Path | None,
    days: int,
    out: Path | None,
) -> None:
    """Write the list of what has been withdrawn.

    One for each authority whose key is here, PEM: ca.crl and intermediate.crl. Each has the next number, and leaves
    out what has expired. Servers that trust it refuse everybody once its days are over, so write it again in time.
    """
    with open_registry(home, inventory, passphrase_file) as registry:
        _ = registry.root
        found = _find_authorities(home, passphrase_file, root_passphrase_file)
        places = (
            {out: list(found.values())} if out is not None else {home / name: [each] for name, each in found.items()}
        )
        with lock_folder(home):
            remove_unfinished(home)
            for path, authorities in places.items():
                _write(path, authorities, registry, days)


def _write(path: Path, authorities: list[Authority], registry: Registry, days: int) -> None:
    written = write_crls(path, authorities, registry.inventory, days)
    say(escape(str(path)))
    for each in written:
        entries = f"{each.entries} entr{'y' if each.entries == 1 else 'ies'}"
        talk(f"{each.issuer}: number {each.number}, {entries}, good until {each.next_update:%Y-%m-%d %H:%M}Z")


def _find_authorities(home: Path, file: Path | None, root_file: Path | None) -> dict[str, Authority]:
    """Those whose keys are here, by the names of their lists. Raises PKIError if none is."""
    kinds = (
        ("intermediate.crl", INTERMEDIATE, INTERMEDIATE_KEY, ask_for(file, key="the intermediate's key")),
        ("ca.crl", ROOT, ROOT_KEY, ask_root(root_file, file)),
    )
    found = {}
    for name, certificate, key, passphrase in kinds:
        if (home / certificate).exists() and (home / key).exists():
            found[name] = load_authority(home, certificate, key, passphrase)
    if not found:
        raise PKIError(f"no authority's key is in {home}", "bring one back, or name its folder with --home")
    return found
