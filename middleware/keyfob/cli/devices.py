"""`keyfob issue`, `renew` and `revoke`: a device's certificate from its beginning to its end."""

import re
import shlex
import time
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from keyfob.cli.options import (
    FILE,
    find_certificates,
    inventory_options,
    open_registry,
    registry_options,
    say_home,
    shorten,
    show_day,
    talk,
)
from keyfob.cli.terminal import escape, say
from keyfob.errors import PKIError
from keyfob.inventory import Inventory, NotInInventory, Record, RevocationReason, State
from keyfob.pki.authority import DEVICE_DAYS, LONGEST_DAYS, DeviceRequest
from keyfob.pki.issuing import Made, issue_device, renew_device
from keyfob.pki.keys import KEY_KINDS, PublicKey
from keyfob.pki.names import require_device_name
from keyfob.pki.registry import Registry
from keyfob.pki.requests import read_signing_request

_KIND = click.Choice(list(KEY_KINDS))
_DAYS = click.IntRange(1, LONGEST_DAYS)
_csr_option = click.option(
    "--csr", type=FILE, help="A signing request, PEM or DER, with a key that was made elsewhere. Only its key counts."
)


@click.command("issue")
@click.argument("name", required=False)
@registry_options
@click.option("--key", "kind", type=_KIND, help="The kind of its key.  [default: p256]")
@click.option("--days", type=_DAYS, default=DEVICE_DAYS, show_default=True, help="How long it lives.")
@click.option("--email", "emails", multiple=True, help="An e-mail address that it names; may be given often.")
@click.option("--dns", multiple=True, help="A DNS name that it names; may be given often.")
@click.option("--uri", "uris", multiple=True, help="A URI that it names; may be given often.")
@click.option("--organization", help="The organization (O) of its subject.")
@click.option("--unit", help="The organizational unit (OU) of its subject.")
@_csr_option
@click.option("--batch", type=FILE, help="A CSV file with a device a row, in place of NAME.")
@click.option("--out", type=FILE, help="With --batch: a folder, or bundle.zip, for what is made.")
@click.option(
    "--processes", type=click.IntRange(1, 512), help="With --batch: how many work at once; all cores if left out."
)
def issue_command(
    name: str | None,
    home: Path,
    inventory: str | None,
    passphrase_file: Path | None,
    kind: str | None,
    days: int,
    emails: Sequence[str],
    dns: Sequence[str],
    uris: Sequence[str],
    organization: str | None,
    unit: str | None,
    csr: Path | None,
    batch: Path | None,
    out: Path | None,
    processes: int | None,
) -> None:
    """Make a device's key and certificate.

    NAME is the certificate's common name, and that of the files in the folder's devices/. A name that has a
    certificate is refused: renew it, or revoke it first.

    \b
      keyfob issue 'My iPhone'
      keyfob issue laptop --csr laptop.csr --email rhea@example.com
      keyfob issue --batch devices.csv --out devices
    """
    said = {
        "--email": emails,
        "--dns": dns,
        "--uri": uris,
        "--organization": organization,
        "--unit": unit,
        "--csr": csr,
    }
    given = [option for option, value in said.items() if value]
    if batch is not None:
        _require_batch(name, out, given)
        with open_registry(home, inventory, passphrase_file) as registry:
            _run_batch(registry, batch, out or Path(), kind or "p256", days, processes)
        return
    if out is not None or processes is not None:
        raise click.UsageError("--out and --processes belong to --batch")
    if name is None:
        raise click.UsageError("name the device, or a file with many by --batch")
    _require_choice(kind, csr)
    require_device_name(name)
    request = DeviceRequest(name, days, organization, unit, tuple(emails), tuple(dns), tuple(uris))
    public = None if csr is None else _read_key(csr)
    with open_registry(home, inventory, passphrase_file) as registry:
        made = issue_device(registry, request, kind or "p256", public)
    _announce(made, name, home)


def _require_batch(name: str | None, out: Path | None, given: Sequence[str]) -> None:
    if name is not None:
        raise click.UsageError("--batch names the devices: leave NAME out")
    if out is None:
        raise click.UsageError("--batch needs --out, a folder or bundle.zip")
    if given:
        raise click.UsageError(f"with --batch, {' and '.join(given)} stand in the file, a row for each device")


def _run_batch(registry: Registry, batch: Path, out: Path, kind: str, days: int, processes: int | None) -> None:
    from keyfob.cli.batch import run_batch  # noqa: PLC0415 - a single device needs none of it

    run_batch(registry, batch, out, kind=kind, days=days, processes=processes)


def _require_choice(kind: str | None, csr: Path | None) -> None:
    if kind is not None and csr is not None:
        raise click.UsageError("--csr brings its own key: leave --key out")


def _read_key(csr: Path) -> PublicKey:
    request = read_signing_request(csr)
    if request.wishes:
        talk(f"Only the key of {csr} counts; what else it asks for is left out: {request.wishes}")
    return request.public


def _announce(made: Made, name: str, home: Path) -> None:
    if made.resumed:
        talk("An interrupted command had made this certificate already; it is in its place now.")
    for path in (made.path, made.key):
        if path is not None:
            say(escape(str(path)))
    talk(f"{name} has a certificate until {made.certificate.not_valid_after_utc:%Y-%m-%d}.")
    if made.key is not None:
        talk(f"Onto a phone: keyfob export {shlex.quote(name)}{say_home(home)}")


# --- Renewal --------------------------------------------------------------------------------------------------------


@click.command("renew")
@click.argument("name")
@registry_options
@click.option("--key", "kind", type=_KIND, help="The kind of the new key; that of the old one if left out.")
@click.option("--days", type=_DAYS, help="How long the new one lives; as long as the old one if left out.")
@click.option(
    "--until",
    metavar="DATE|DAYS",
    default="7",
    show_default=True,
    help="How long the old one lives on: a last day, such as 2027-01-31 (UTC), or a number of days.",
)
@_csr_option
def renew_command(
    name: str,
    home: Path,
    inventory: str | None,
    passphrase_file: Path | None,
    kind: str | None,
    days: int | None,
    until: str,
    csr: Path | None,
) -> None:
    """Give a device a new key and certificate.

    What the certificate says stays as it was. The files in devices/ are replaced by the new ones; the old certificate
    opens the door until its last day, so that there is time to carry the new one over. Other words, such as another
    e-mail address, take another certificate: revoke this one, and issue anew.
    """
    _require_choice(kind, csr)
    retires_at = _read_last_day(until)
    public = None if csr is None else _read_key(csr)
    with open_registry(home, inventory, passphrase_file) as registry:
        present = registry.inventory.find_present(require_device_name(name))
        if present is None:
            _explain_absence(registry, name)
        made = renew_device(registry, name, retires_at, kind, days, public)
    _announce(made, name, home)
    if not made.resumed:
        talk(f"The old one opens the door until {_show_end(retires_at)}.")


def _explain_absence(registry: Registry, name: str) -> None:
    """Raises NotInInventory, or says that all of the device's certificates are revoked."""
    find_certificates(registry.inventory, name)
    raise NotInInventory(f"{name!r} has no certificate that counts", f"keyfob issue {shlex.quote(name)}")


def _read_last_day(text: str) -> float:
    """A moment: so many days from now, or the end of a date. In seconds since the epoch."""
    now = datetime.now(UTC)
    if re.fullmatch(r"[0-9]{1,5}", text):
        return (now + timedelta(days=int(text))).timestamp()
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
        end = day + timedelta(days=1)
    except (ValueError, OverflowError):
        message = f"{shorten(text)!r} is neither a date such as 2027-01-31 nor a number of days"
        raise click.BadParameter(message, param_hint="--until") from None
    if end <= now:
        raise click.BadParameter(f"{text} is over; 0 ends the old one at once", param_hint="--until")
    return end.timestamp()


def _show_end(moment: float) -> str:
    return "now" if moment <= time.time() else f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M}Z"


# --- Revocation -----------------------------------------------------------------------------------------------------


@click.command("revoke")
@click.argument("words", metavar="NAME|SERIAL|FINGERPRINT")
@inventory_options
@click.option(
    "--reason",
    type=click.Choice([each.value for each in RevocationReason], case_sensitive=False),
    default=RevocationReason.UNSPECIFIED.value,
    show_default=True,
    help="Why, as a revocation list says it.",
)
def revoke_command(words: str, home: Path, inventory: str | None, reason: str) -> None:
    """Withdraw a device's certificates, or a single one.

    A name means all of the device's certificates that still count, and its open invitations; a serial number or SHA-256
    fingerprint means one certificate. It cannot be taken back; the name can be issued anew. Servers that read this
    inventory refuse it within a second. The status is 1 if there is nothing left to revoke.
    """
    now = time.time()
    with open_registry(home, inventory) as registry:
        name, why = unicodedata.normalize("NFC", words), RevocationReason(reason)
        revoked, cancelled = registry.inventory.revoke_name(name, why, now)
        if not revoked and not cancelled:
            revoked = _revoke_one(registry.inventory, words, why, now)
    for record in revoked:
        say(f"{record.serial_text}  {escape(record.name)}")
    if cancelled:
        talk(f"Cancelled {cancelled} open invitation{'' if cancelled == 1 else 's'}.")
    if revoked:
        talk("Revoked. Servers that do not read this inventory need a new list: keyfob crl")


def _revoke_one(inventory: Inventory, words: str, reason: RevocationReason, now: float) -> list[Record]:
    found = [stored.record for stored in find_certificates(inventory, words)]
    counting = [record for record in found if record.find_state(now) is not State.REVOKED]
    if not counting:
        raise PKIError(f"{shorten(words)!r} is revoked already, {_say_end(found[0])}", "see `keyfob show`")
    inventory.revoke(counting, reason, now)
    others = inventory.find_present(counting[0].name)
    if others is not None:
        talk(f"note: {escape(counting[0].name)} has another certificate that counts; its name withdraws all of them")
    return counting


def _say_end(record: Record) -> str:
    if record.revoked_at is None:
        return f"since it was renewed, on {show_day(record.retires_at)}"
    return f"since {show_day(record.revoked_at)} ({record.reason})"
