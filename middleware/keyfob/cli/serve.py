"""`keyfob serve`: an app behind the gate, on uvicorn."""

import logging
import os
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from keyfob.errors import ServeError
from keyfob.pki import Home, open_home
from keyfob.pki.home import read_device, unnamed_hosts
from keyfob.server.addresses import LOOPBACK, find_hosts
from keyfob.server.serve import Service, serve

# Whether a path can be read is said better by what reads it.
_FILE = click.Path(path_type=Path, readable=False)


@click.command("serve")
@click.argument("app", metavar="MODULE:APP")
@click.option(
    "--home",
    type=_FILE,
    help="A folder with everything in it. What is missing is made: a CA, the server's "
    "certificate, a device's, and access.toml.",
)
@click.option("--config", type=_FILE, help="The rules: an access.toml, or the same model as JSON.")
@click.option("--certificate", type=_FILE, help="The server's certificate with its intermediates, PEM.")
@click.option("--key", type=_FILE, help="The key of that certificate, PEM.")
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="The address to listen on; 0.0.0.0 is all of them."
)
@click.option("--port", default=8443, show_default=True, type=click.IntRange(0, 65535), help="The port; 0 takes any.")
def serve_command(
    app: str, home: Path | None, config: Path | None, certificate: Path | None, key: Path | None, host: str, port: int
) -> None:
    """Serve MODULE:APP over TLS, behind the gate.

    Either --home, or --config with --certificate and --key:

    \b
      keyfob serve shop.web:app --home .keyfob
      keyfob serve shop.web:app --config access.toml --certificate server.pem --key server-key.pem
    """
    _prepare_logging()
    try:
        sys.path.insert(0, str(Path.cwd()))
    except OSError as error:
        raise ServeError(f"the current folder is gone: {error.strerror}", "change to one that is there") from error
    if home == Path():
        raise click.UsageError("--home names no folder")
    if home is None:
        if config is None:
            raise click.UsageError("give --home, or --config with --certificate and --key")
        serve(Service(app, config, certificate, key, host, port), lambda url: _talk(f"Serving {url}"))
        return
    if config or certificate or key:
        raise click.UsageError("--home brings its own config, certificate and key: give one or the other")
    _serve_home(app, home, host, port)


def _serve_home(app: str, folder: Path, host: str, port: int) -> None:
    hosts = find_hosts(host)
    home = open_home(folder, hosts)
    # An app that keeps files of its own finds the folder here.
    os.environ["KEYFOB_HOME"] = str(home.folder)
    _describe_home(home, hosts)
    service = Service(app, home.config, home.server, home.server_key, host, port)
    serve(service, lambda url: _describe_address(home, hosts, host, url))


def _describe_home(home: Home, hosts: list[str]) -> None:
    _talk(f"  folder     {home.folder}")
    _talk(f"  rules      {home.config}")
    name, end = read_device(home)
    renewal = "" if end > datetime.now(UTC) else "; it has ended: move device.* away for a new one"
    _talk(f"  device     {name}, until {end:%Y-%m-%d}{renewal}")
    if home.password is not None:
        _talk(f"  phone key  {home.device_p12}")
        _talk(f"  password   {home.password}   (for the phone key; shown this once)")
    if strangers := unnamed_hosts(home, hosts):
        _talk(f"  note       the server's certificate does not name {', '.join(strangers)}; to be reached there, move")
        _talk(f"             {home.server.name} and {home.server_key.name} away for a new one, and add the names")
        _talk(f"             to {home.config.name}")


def _describe_address(home: Home, hosts: list[str], host: str, url: str) -> None:
    _talk(f"  address    {url}")
    curl = ["curl", "--cacert", home.authority, "--cert", _escape(home.device), "--key", home.device_key, f"{url}/"]
    _talk(f"\nTry it in another terminal:\n  {shlex.join(map(str, curl))}")
    if home.device_p12.exists():
        _talk(_phone_steps(home, hosts, host, url))
    _talk("\nCtrl+C stops.")


def _escape(path: Path) -> str:
    """For curl's --cert alone, which takes what follows a colon for a password."""
    return str(path).replace("\\", "\\\\").replace(":", "\\:")


def _phone_steps(home: Home, hosts: list[str], host: str, url: str) -> str:
    port = url.rpartition(":")[2]
    reachable = [each for each in hosts if each not in LOOPBACK and "." in each]
    named = " or ".join(f"https://{each}:{port}" for each in reachable) or url
    reach = "  0. Start again with HOST=0.0.0.0, so that the phone can reach this machine.\n"
    lost = "" if home.password else " (lost? move device.* away and start again for a new key)"
    return (
        "\nOnto an iPhone:\n"
        f"{reach if host in LOOPBACK else ''}"
        f"  1. Send it {home.authority} and {home.device_p12} by AirDrop, or save both to Files.\n"
        "  2. Open ca.pem on the phone, then Settings > Profile Downloaded > Install. Then the same with device.p12,\n"
        f"     which asks for the password{lost}.\n"
        "  3. Settings > General > About > Certificate Trust Settings: turn on keyfob CA.\n"
        f"  4. In Safari open {named} and add it to the home screen.\n"
        "  Then delete device.p12 from here and there: it is the key. (Android: Settings > Security > Install a\n"
        "  certificate > VPN & app user certificate.)"
    )


def _prepare_logging() -> None:
    """Warnings and refusals to stderr, one line each; the server's own chatter stays quiet."""
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.WARNING, stream=sys.stderr)
    # Said once more by this command, with the reason.
    logging.getLogger("uvicorn.error").addFilter(
        lambda line: line.getMessage() != "Application startup failed. Exiting."
    )


def _talk(text: str) -> None:
    click.echo(text, err=True)
