"""`keyfob export`: a device's key, in the file that its phone, browser or program takes."""

import unicodedata
from pathlib import Path
from urllib.parse import urlsplit

import click

from keyfob.cli.options import FILE, find_certificates, home_option, inventory_option, open_registry, talk
from keyfob.cli.passphrase import ask_for
from keyfob.cli.terminal import escape, say
from keyfob.errors import PKIError
from keyfob.inventory import Inventory
from keyfob.pki.exports import FORMATS, App, Signer, collect_export, read_signer
from keyfob.pki.files import write_together
from keyfob.pki.issuing import settle_device
from keyfob.pki.pkcs12 import make_password
from keyfob.pki.profiles import read_icon

_PROFILE = "mobileconfig"
# Says the passphrase of the key that signs profiles.
_VARIABLE = "KEYFOB_SIGNING_PASSPHRASE"


@click.command("export")
@click.argument("name")
@click.option(
    "--format",
    "format_name",
    type=click.Choice(list(FORMATS)),
    default="p12",
    show_default=True,
    help="What takes it, see above.",
)
@click.option("--out", type=FILE, help="The file to make; NAME with the format's ending by default, in this folder.")
@click.option("--app-url", help="mobileconfig: what the icon on the home screen opens.  [default: the served app]")
@click.option("--app-name", help="mobileconfig: what stands under the icon.  [default: the served app's, or its host]")
@click.option("--app-icon", type=FILE, help="mobileconfig: a PNG of at most 400 x 400.  [default: a key]")
@click.option("--root/--no-root", "with_root", default=None, help="mobileconfig: with the CA, or not.  [default: with]")
@click.option("--sign-with", type=FILE, help="mobileconfig: sign with this certificate; PEM, or a whole chain.")
@click.option(
    "--sign-key", type=FILE, help=f"mobileconfig: the key of that certificate; {_VARIABLE} says its passphrase."
)
@click.option("--sign-chain", type=FILE, help="mobileconfig: more intermediates above that certificate.")
@click.option("--from", "devices", type=FILE, help="The folder that a batch has filled, in place of the home's own.")
@home_option
@inventory_option
def export_command(
    name: str,
    format_name: str,
    out: Path | None,
    home: Path,
    inventory: str | None,
    devices: Path | None,
    *,
    with_root: bool | None,
    app_url: str | None,
    app_name: str | None,
    app_icon: Path | None,
    sign_with: Path | None,
    sign_key: Path | None,
    sign_chain: Path | None,
) -> None:
    """Write a device's key as phones and programs take it.

    The file is encrypted with a new password, which is shown this once. Whoever has both has the key: send them by
    different ways, and delete the file once it is imported.

    \b
      p12           every phone, Windows, macOS, Firefox: triple DES, the one encryption that all of them know
      p12-modern    iOS 18, Android 14, Windows 10, Firefox, and what came after: AES-256
      mobileconfig  iPhone and iPad: the key, the CA and the app's icon, installed in one step
      pem           curl, Python and other programs: the certificate, what is above it, and the key
    """
    given = {
        "--root": with_root,
        "--app-url": app_url,
        "--app-name": app_name,
        "--app-icon": app_icon,
        "--sign-with": sign_with,
        "--sign-key": sign_key,
        "--sign-chain": sign_chain,
    }
    _require_fitting(format_name, [option for option, value in given.items() if value is not None])

    chosen = FORMATS[format_name]
    name = unicodedata.normalize("NFC", name)
    with open_registry(home, inventory) as registry:
        opened = registry.inventory
        # It knows what is close to a name that nobody has.
        find_certificates(opened, name)
        settle_device(registry, name)
        export = collect_export(home, opened, name, devices)
        if format_name == _PROFILE:
            export = export._replace(
                with_root=with_root is not False,
                app=_find_app(opened, app_url, app_name, app_icon),
                signer=_find_signer(sign_with, sign_key, sign_chain),
            )
    target = (out or Path(f"{name}.{chosen.ending}")).absolute()
    password = make_password()
    write_together(target.parent, {target.name: chosen.compose(export, password)})
    say(escape(str(target)))
    if format_name == _PROFILE and export.app is None:
        talk("note: there is no icon for an app in it; --app-url says what it would open")
    talk(f"  password   {password}   (shown this once; the file is the key: delete it when it is imported)")


def _require_fitting(format_name: str, given: list[str]) -> None:
    if format_name != _PROFILE and given:
        raise click.UsageError(f"{given[0]} is for --format {_PROFILE} alone")
    signing = {"--sign-with", "--sign-key"} & {*given}
    if len(signing) == 1 or ("--sign-chain" in given and not signing):
        raise click.UsageError("give --sign-with and --sign-key together")


def _find_app(inventory: Inventory, url: str | None, name: str | None, icon: Path | None) -> App | None:
    """What was asked for, else what the server has left in the inventory."""
    url = inventory.read_setting("app.url") if url is None else url
    if url is None:
        if name is not None or icon is not None:
            raise click.UsageError("--app-name and --app-icon need --app-url")
        return None
    if name is None:
        name = inventory.read_setting("app.name") or _find_host(url)
    return App(url, name, read_icon() if icon is None else _read(icon))


def _find_host(url: str) -> str:
    try:
        return urlsplit(url).hostname or url
    except ValueError:
        # It is refused where the icon is made.
        return url


def _find_signer(certificate: Path | None, key: Path | None, chain: Path | None) -> Signer | None:
    return None if certificate is None or key is None else read_signer(certificate, key, chain, _ask)


def _ask() -> str:
    said = ask_for(None, _VARIABLE, key="the signing key")()
    if said is None:
        raise PKIError("the signing key is encrypted, and nobody said its passphrase", f"set {_VARIABLE}")
    return said


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise PKIError(f"{path} cannot be read: {error.strerror}", "is it there, and is it yours?") from error
