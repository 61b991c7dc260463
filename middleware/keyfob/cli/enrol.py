"""`keyfob enrol`: a device is invited, by a code for its camera, and whoever invites sees who comes."""

import json
import re
import shlex
import shutil
import time
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import click

from keyfob.cli.options import open_registry, registry_options, talk
from keyfob.cli.qr import draw_code, find_obstacle
from keyfob.cli.terminal import say
from keyfob.enrolment.inviting import LONGEST, P12, SHORTEST, Invited, Wish, erase_lapsed, invite
from keyfob.enrolment.outlet import ENROLMENT_AUTHORITY, ENROLMENT_URL
from keyfob.enrolment.requests import EST, SCEP
from keyfob.errors import PKIError
from keyfob.inventory import Inventory, Invitation
from keyfob.pki.authority import DEVICE_DAYS, LONGEST_DAYS, DeviceRequest
from keyfob.pki.keys import KEY_KINDS
from keyfob.pki.registry import ROOT
from keyfob.server.addresses import LOOPBACK

MINUTES = 15
# Seconds between two looks at the invitation.
_LOOKS_EVERY = 0.5


@click.command("enrol")
@click.argument("name")
@registry_options
@click.option(
    "--url",
    "base",
    help="Where the enrolment pages are, such as https://keys.example.com:8444.  [default: as `keyfob serve` says]",
)
@click.option(
    "--minutes",
    type=click.IntRange(SHORTEST, LONGEST),
    default=MINUTES,
    show_default=True,
    help="How long the invitation is open.",
)
@click.option("--key", "kind", type=click.Choice(list(KEY_KINDS)), help="The kind of the key.  [default: p256]")
@click.option(
    "--days",
    type=click.IntRange(1, LONGEST_DAYS),
    default=DEVICE_DAYS,
    show_default=True,
    help="How long the certificate lives.",
)
@click.option("--email", "emails", multiple=True, help="An e-mail address that it names; may be given often.")
@click.option("--dns", multiple=True, help="A DNS name that it names; may be given often.")
@click.option("--uri", "uris", multiple=True, help="A URI that it names; may be given often.")
@click.option("--organization", help="The organization (O) of its subject.")
@click.option("--unit", help="The organizational unit (OU) of its subject.")
@click.option(
    "--born-on-device", is_flag=True, help="An iPhone or iPad makes the key itself, and it never leaves it (SCEP)."
)
@click.option("--est", is_flag=True, help="A program makes the key itself, and has it signed by EST (RFC 7030).")
@click.option(
    "--renew", is_flag=True, help="The device has a certificate: give it the next one, and the old one another week."
)
@click.option("--no-wait", is_flag=True, help="Do not stay to see who comes.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object with the link and the password, and no waiting.")
def enrol_command(
    name: str,
    home: Path,
    inventory: str | None,
    passphrase_file: Path | None,
    base: str | None,
    minutes: int,
    kind: str | None,
    days: int,
    emails: Sequence[str],
    dns: Sequence[str],
    uris: Sequence[str],
    organization: str | None,
    unit: str | None,
    *,
    born_on_device: bool,
    est: bool,
    renew: bool,
    no_wait: bool,
    as_json: bool,
) -> None:
    """Invite a device by a QR code and a link.

    The code leads its camera to a page that hands out the key, once. What is handed out is encrypted with a password
    that is shown here alone: whoever finds the link without it has nothing. A key that the device makes itself has no
    password, and is whose comes first. So the command stays to say who has used the invitation, and who has tried to
    once more; Ctrl+C ends that, and the invitation stays open.
    """
    if born_on_device and est:
        raise click.UsageError("a key is born on an iPhone, or fetched by EST: give one of the two")
    if kind is not None and (born_on_device or est):
        raise click.UsageError("--key is for a key that is made here; this one is made by the device")
    if est and renew:
        raise click.UsageError("EST renews by itself: the device asks simplereenroll, and shows its certificate")
    name = unicodedata.normalize("NFC", name)
    request = DeviceRequest(name, days, organization, unit, tuple(emails), tuple(dns), tuple(uris))
    wish = Wish(request, SCEP if born_on_device else EST if est else P12, kind or "p256", renew)
    with open_registry(home, inventory, passphrase_file) as registry:
        where = find_base(registry.inventory, base)
        invited = invite(registry, wish, minutes)
        if as_json:
            say(json.dumps(_as_json(invited, where)))
            return
        _show(invited, where, home)
        unknown = registry.inventory.read_setting(ENROLMENT_AUTHORITY) if base is None else None
        if unknown and invited.kind != EST:
            talk(f"note: the device does not know {unknown} yet, and warns once: Show Details, then visit this website")
        if not no_wait:
            watch(registry.inventory, invited, home)


def find_base(inventory: Inventory, base: str | None) -> str:
    """Where the pages are, without a slash at the end. Before anything is made."""
    # A server takes its address back when it ends.
    found = (inventory.read_setting(ENROLMENT_URL) or "") if base is None else base
    if base is None and not found:
        hint = "start `keyfob serve --home …`, or name the address with --url https://…"
        raise PKIError("no server that runs has said where its enrolment pages are", hint)
    if _BASE.fullmatch(found) is None or not urlsplit(found).hostname:
        raise click.BadParameter(f"{found[:80]!r} is no address of pages; write https://host:port", param_hint="--url")
    return found.rstrip("/")


_BASE = re.compile(r"https://[A-Za-z0-9.\-]+(:[0-9]{1,5})?/?|https://\[[0-9a-fA-F:]+\](:[0-9]{1,5})?/?")


def _as_json(invited: Invited, base: str) -> dict[str, str | None]:
    return {
        "name": invited.name,
        "kind": invited.kind,
        "link": _link(invited, base),
        "password": invited.password,
        "expires_at": f"{datetime.fromtimestamp(invited.expires_at, UTC):%Y-%m-%dT%H:%M:%SZ}",
    } | ({"token": invited.token, "est": f"{base}/.well-known/est"} if invited.kind == EST else {})


def _link(invited: Invited, base: str) -> str:
    return f"{base}/enrol/{invited.token}"


# --- What is shown ----------------------------------------------------------------------------------------------------


def _show(invited: Invited, base: str, home: Path) -> None:
    if invited.kind == EST:
        _show_program(invited, base, home)
        return
    link = _link(invited, base)
    lines = draw_code(link)
    columns = shutil.get_terminal_size((80, 24)).columns
    obstacle = find_obstacle(lines, columns)
    say("")
    if obstacle is None:
        for line in lines:
            say(f"  {line}")
        say("")
    else:
        talk(f"note: {obstacle}; open the link instead")
    say(f"  link       {link}")
    if invited.password is not None:
        say(f"  password   {invited.password}   (to type on the device; shown this once)")
    say(f"  open until {_clock(invited.expires_at)}, for one device")
    say("")
    host = urlsplit(link).hostname or ""
    if host in LOOPBACK:
        talk(f"note: a phone cannot reach {host}; start `keyfob serve` with --host 0.0.0.0")


def _show_program(invited: Invited, base: str, home: Path) -> None:
    cacert = shlex.quote(str(home / ROOT))
    say(f"  EST        {base}/.well-known/est")
    say(f"  password   {invited.token}   (once; the user may be anybody; shown this once)")
    say(f"  open until {_clock(invited.expires_at)}, for one device")
    say("\nOn the device, with the authority's certificate there as ca.pem:")
    say("  openssl req -new -newkey rsa:2048 -nodes -keyout key.pem -subj /CN=device -outform DER -out request.der")
    say("  base64 request.der | curl --cacert ca.pem --user device --data-binary @- --fail \\")
    say(f"    -H 'Content-Type: application/pkcs10' {base}/.well-known/est/simpleenroll | base64 -d |")
    say("    openssl pkcs7 -inform DER -print_certs -out certificate.pem")
    talk(f"\ncurl asks for the password. ca.pem is {cacert}.")


# --- Who comes --------------------------------------------------------------------------------------------------------


def watch(inventory: Inventory, invited: Invited, home: Path) -> None:
    """Says what becomes of the invitation until its time is over, or until somebody has seen enough."""
    revoke = shlex.join(["keyfob", "revoke", invited.name, *(["--home", str(home)] if home != Path(".keyfob") else [])])
    seen = _read(inventory, invited)
    try:
        talk("Waiting for the device. Ctrl+C leaves the invitation open.")
        while time.time() < invited.expires_at:
            time.sleep(_LOOKS_EVERY)
            now = _read(inventory, invited)
            for line in describe_change(seen, now, revoke):
                talk(line)
            seen = now
    except KeyboardInterrupt:
        talk("" if seen.used_at is not None else f"\nThe invitation stays open until {_clock(invited.expires_at)}.")
        return
    if _read(inventory, invited).used_at is None:
        erase_lapsed(inventory, time.time())
        gone = "; the key is erased, and its certificate withdrawn" if invited.kind == P12 else ""
        talk(f"Nobody came, and the invitation has lapsed{gone}.")


def _read(inventory: Inventory, invited: Invited) -> Invitation:
    found = inventory.invitations.read(invited.number)
    if found is None:
        raise PKIError("the invitation is not in the inventory any more", "was the inventory put back from a backup?")
    return found


def describe_change(before: Invitation, after: Invitation, revoke: str) -> list[str]:
    """What has happened between two looks at an invitation; `revoke` is the command for the worst case."""
    said = []
    if before.used_at is None and after.used_at is not None:
        said.append(f"used at {_clock(after.used_at, precise=True)} by {after.used_from} ({after.used_with})")
        said.append("Staying to see whether anybody tries again; Ctrl+C ends that.")
    if after.kind != P12 and before.certificate is None and after.certificate is not None:
        said.append("The device's own key is signed, and opens the door now.")
    if after.tries > before.tries and after.tried_at is not None:
        at = _clock(after.tried_at, precise=True)
        said.append(f"somebody tried again at {at} from {after.tried_from}: if that was not you, {revoke}")
    return said


def _clock(at: float, *, precise: bool = False) -> str:
    """A moment where this machine is: the page shows the same."""
    moment = datetime.fromtimestamp(at).astimezone()
    return f"{moment:%H:%M:%S}" if precise else f"{moment:%H:%M}"
