"""`keyfob ca`: the authority that signs devices."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from keyfob.cli.options import FILE, home_option, inventory_option, inventory_options, open_registry, say_home, talk
from keyfob.cli.passphrase import ROOT_VARIABLE, VARIABLE, ask_for, choose_passphrase, find_passphrase
from keyfob.cli.terminal import escape, say
from keyfob.errors import PKIError
from keyfob.inventory import Inventory
from keyfob.pki.authority import AUTHORITY_DAYS, INTERMEDIATE_DAYS, LONGEST_DAYS
from keyfob.pki.files import lock_folder, remove_leftovers
from keyfob.pki.founding import found_intermediate, found_registry, write_bundle
from keyfob.pki.keys import KEY_KINDS, Passphrase
from keyfob.pki.registry import (
    BUNDLE,
    INTERMEDIATE,
    INTERMEDIATE_KEY,
    INVENTORY_URL,
    ROOT,
    ROOT_KEY,
    read_certificate,
)
from keyfob.pki.requests import describe_kind, require_text
from keyfob.pki.resumption import finish_together

_KIND = click.Choice(list(KEY_KINDS))
_DAYS = click.IntRange(1, LONGEST_DAYS)
_new_passphrase_file = click.option(
    "--passphrase-file", type=FILE, help=f"A file with the passphrase of the new key; {VARIABLE} says it, too."
)
_prompt = click.option("--passphrase", "prompt", is_flag=True, help="Ask for the passphrase of the new key.")
_no_passphrase = click.option(
    "--no-passphrase", is_flag=True, help=f"Leave the new key unencrypted, whatever {VARIABLE} says."
)


@click.group("ca", no_args_is_help=False)
def ca_command() -> None:
    """Make and show the authority that signs devices."""


@ca_command.command("init")
@home_option
@inventory_option
@click.option("--name", default="keyfob CA", show_default=True, help="How devices call it.")
@click.option("--key", "kind", type=_KIND, default="p256", show_default=True, help="The kind of its key.")
@click.option("--days", type=_DAYS, default=AUTHORITY_DAYS, show_default=True, help="How long it lives.")
@_prompt
@_new_passphrase_file
@_no_passphrase
def init_command(
    home: Path,
    inventory: str | None,
    name: str,
    kind: str,
    days: int,
    *,
    prompt: bool,
    passphrase_file: Path | None,
    no_passphrase: bool,
) -> None:
    """Make an authority and an empty inventory.

    Both go into the folder --home; with --inventory postgresql://… the inventory goes there, and every later command
    finds it by itself. The key is not encrypted unless a passphrase is given. Nothing is ever written over.
    """
    require_text(name, "authority's name")
    if _resume(home, (ROOT, ROOT_KEY, BUNDLE, INVENTORY_URL)):
        return
    passphrase = choose_passphrase(passphrase_file, prompt=prompt, none=no_passphrase)
    registry = found_registry(home, name, kind, days, passphrase, inventory)
    registry.inventory.close()
    say(escape(str(home / ROOT)))
    talk(f"{name} signs from now on, until {registry.root.not_valid_after_utc:%Y-%m-%d}.")
    talk(f"Its key is {home / ROOT_KEY}: whoever has it can make keys to the door.")
    talk(f"A first device: keyfob issue laptop{say_home(home)}; phones come by `keyfob serve` and `keyfob enrol`.")


@ca_command.command("intermediate")
@home_option
@click.option("--name", help="How it is called; the root's name with 'devices' behind it if left out.")
@click.option("--key", "kind", type=_KIND, default="p256", show_default=True, help="The kind of its key.")
@click.option("--days", type=_DAYS, default=INTERMEDIATE_DAYS, show_default=True, help="How long it lives.")
@_prompt
@_new_passphrase_file
@_no_passphrase
@click.option(
    "--root-passphrase-file",
    type=FILE,
    help=f"A file with the passphrase of the root's key. If left out it is {ROOT_VARIABLE}, or what the new key has.",
)
def intermediate_command(
    home: Path,
    name: str | None,
    kind: str,
    days: int,
    *,
    prompt: bool,
    passphrase_file: Path | None,
    no_passphrase: bool,
    root_passphrase_file: Path | None,
) -> None:
    """Make an intermediate that signs devices from now on.

    It can sign no further authorities (path length 0). The root's key is not needed any more then, and can leave this
    machine. bundle.pem holds both certificates: a server that has it needs the device's own from devices alone.
    """
    root = read_certificate(home / ROOT)
    if _resume(home, (INTERMEDIATE, INTERMEDIATE_KEY)):
        return
    passphrase = choose_passphrase(passphrase_file, prompt=prompt, none=no_passphrase)
    called = name if name is not None else _name_below(root)
    require_text(called, "authority's name")
    unlock = ask_root(root_passphrase_file, passphrase_file)
    made = found_intermediate(home, called, kind, days, unlock, passphrase)
    say(escape(str(home / INTERMEDIATE)))
    talk(f"{called} signs from now on, until {made.certificate.not_valid_after_utc:%Y-%m-%d}; servers need {BUNDLE}.")
    if made.issued.certificate_pem not in (home / BUNDLE).read_bytes():
        talk(f"That is one of your own, and stays as it is: put {INTERMEDIATE} into it.")
    talk(f"The root's key can leave this machine now: {home / ROOT_KEY}")


def ask_root(root_file: Path | None, file: Path | None) -> Passphrase:
    """The passphrase of the root's key: its own file or variable, the other key's, or what is typed."""

    def ask() -> str | None:
        said = find_passphrase(root_file, ROOT_VARIABLE)
        return said if said is not None else ask_for(file, key="the root's key")()

    return ask


def _resume(home: Path, names: tuple[str, ...]) -> bool:
    """Finishes what an earlier run was interrupted in, if it had come so far. Whether there was such a thing."""
    if not home.is_dir():
        return False
    with lock_folder(home):
        finished = finish_together(home, names)
        remove_leftovers(home, [BUNDLE])
        if (home / INTERMEDIATE).exists():
            bundle = home / BUNDLE
            before = bundle.read_bytes() if bundle.exists() else b""
            write_bundle(home)
            finished = finished or bundle.read_bytes() != before
    if finished:
        say(escape(str(home / names[0])))
        talk("An interrupted command had made it already, and this one has finished that. See `keyfob ca show`.")
    return finished


def _name_below(root: x509.Certificate) -> str:
    for name in root.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME):
        return f"{str(name.value)[:56]} devices"
    return "keyfob CA devices"


# --- What there is --------------------------------------------------------------------------------------------------


@ca_command.command("show")
@inventory_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def show_command(home: Path, inventory: str | None, *, as_json: bool) -> None:
    """Show the authority: its certificates, where the keys are, and how much it has signed."""
    with open_registry(home, inventory) as registry:
        root = _describe(home, ROOT, ROOT_KEY, registry.inventory)
        below = (home / INTERMEDIATE).exists()
        intermediate = _describe(home, INTERMEDIATE, INTERMEDIATE_KEY, registry.inventory) if below else None
        described = {
            "root": root,
            "intermediate": intermediate,
            "inventory": registry.inventory.name,
            "certificates": registry.inventory.count(),
        }
    if as_json:
        say(json.dumps(described))
    else:
        say("\n".join(_as_lines(described)))


def _describe(home: Path, name: str, key: str, inventory: Inventory) -> dict[str, Any]:
    certificate = read_certificate(home / name)
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    return {
        "name": certificate.subject.rfc4514_string(),
        "file": str(home / name),
        "fingerprint": certificate.fingerprint(hashes.SHA256()).hex(),
        "not_before": certificate.not_valid_before_utc.isoformat(),
        "not_after": certificate.not_valid_after_utc.isoformat(),
        "key": describe_kind(certificate.public_key()),
        "path_length": constraints.path_length,
        "key_file": str(home / key) if (home / key).exists() else None,
        "key_encrypted": _is_encrypted(home / key),
        "crl_number": inventory.read_crl_number(certificate.public_bytes(Encoding.DER)),
    }


def _is_encrypted(key: Path) -> bool | None:
    """None if it is not here."""
    try:
        return b"ENCRYPTED" in key.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise PKIError(f"{key} cannot be read: {error.strerror}", "is it yours?") from error


def _as_lines(described: dict[str, Any]) -> Iterator[str]:
    for role in ("root", "intermediate"):
        each = described[role]
        if each is None:
            yield f"{role:<13} none; `keyfob ca intermediate` makes one"
            continue
        ends = datetime.fromisoformat(each["not_after"])
        ended = "; it has ended" if ends < datetime.now(UTC) else ""
        yield f"{role:<13} {escape(each['name'])}"
        yield f"  file        {escape(each['file'])}"
        yield f"  fingerprint {each['fingerprint']}"
        yield f"  valid until {ends:%Y-%m-%d}{ended}"
        yield f"  key         {each['key']}, {_say_key(each)}"
        yield f"  path length {'any' if each['path_length'] is None else each['path_length']}"
        yield f"  CRL number  {each['crl_number'] or 'none yet'}"
    yield f"inventory     {escape(described['inventory'])}"
    yield f"certificates  {described['certificates']}"


def _say_key(each: dict[str, Any]) -> str:
    if each["key_file"] is None:
        return "not here"
    return f"in {escape(each['key_file'])}{', encrypted' if each['key_encrypted'] else ''}"
