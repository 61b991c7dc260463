"""`keyfob serve`: an app behind the gate, on uvicorn, and beside it the port where devices come to their keys."""

import logging
import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import click

from keyfob.cli.options import passphrase_file_option
from keyfob.cli.passphrase import ask_for, find_passphrase
from keyfob.config.files import Files
from keyfob.config.reading import read_document
from keyfob.enrolment.outlet import APP_NAME, APP_URL, ENROLMENT_AUTHORITY, ENROLMENT_URL, Outlet
from keyfob.errors import ConfigError, PKIError, ServeError
from keyfob.pki.exports import read_signer
from keyfob.pki.home import DEVICE_NAME, Home, open_home, read_device, unnamed_hosts
from keyfob.pki.registry import INTERMEDIATE, Registry, read_certificate
from keyfob.server.addresses import LOOPBACK, find_hosts
from keyfob.server.reaching import choose_host, is_of, read_chain
from keyfob.server.serve import Addresses, Enrolment, Service, serve

# Whether a path can be read is said better by what reads it.
_FILE = click.Path(path_type=Path, readable=False)
_LAST_PORT = 65535
_PORT = click.IntRange(0, _LAST_PORT)


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
@click.option("--on-decision", metavar="MODULE:FUNCTION", help="A function that is called with every record.")
@click.option("--port", default=8443, show_default=True, type=_PORT, help="The port; 0 takes any.")
@click.option(
    "--enrolment-port",
    type=_PORT,
    help="The port where invited devices fetch their keys, without showing one.  "
    "[default: the next one after --port with --home, if it is free]",
)
@click.option("--no-enrolment", is_flag=True, help="Have no such port.")
@passphrase_file_option
def serve_command(
    app: str,
    home: Path | None,
    config: Path | None,
    certificate: Path | None,
    key: Path | None,
    host: str,
    on_decision: str | None,
    port: int,
    enrolment_port: int | None,
    passphrase_file: Path | None,
    *,
    no_enrolment: bool,
) -> None:
    """Serve MODULE:APP behind the gate.

    Either --home, or --config with --certificate and --key. Behind a proxy that asks for the certificates --config is
    enough, and plain HTTP is spoken:

    \b
      keyfob serve shop.web:app --home .keyfob
      keyfob serve shop.web:app --config access.toml --certificate server.pem --key server-key.pem
      keyfob serve shop.web:app --config behind-nginx.toml --port 8000

    With --home, devices that were invited with `keyfob enrol` fetch their keys at a port of its own. Beside a --config
    that takes --enrolment-port, and --home for the folder with the authority and the inventory.
    """
    _prepare_logging()
    try:
        sys.path.insert(0, str(Path.cwd()))
    except OSError as error:
        raise ServeError(f"the current folder is gone: {error.strerror}", "change to one that is there") from error
    _require_fitting(home, [config, certificate, key], enrolment_port, no_enrolment=no_enrolment)
    if home is not None and config is None:
        # Beside the app's: two apps on one machine get in each other's way no more than they do anyway.
        usual = port + 1 if 0 < port < _LAST_PORT else 0
        chosen = None if no_enrolment else usual if enrolment_port is None else enrolment_port
        made = Service(app, home / "access.toml", None, None, host, port, on_decision)
        _serve_home(made, home, chosen, passphrase_file, optional=enrolment_port is None)
    elif config is not None:
        service = Service(app, config, certificate, key, host, port, on_decision)
        _serve_config(service, home, enrolment_port, passphrase_file)


def _require_fitting(
    home: Path | None, files: list[Path | None], enrolment_port: int | None, *, no_enrolment: bool
) -> None:
    if home == Path():
        raise click.UsageError("--home names no folder")
    if no_enrolment and enrolment_port is not None:
        raise click.UsageError("--no-enrolment leaves nothing for --enrolment-port")
    if home is None and files[0] is None:
        raise click.UsageError("give --home, or --config with --certificate and --key")
    if home is None and enrolment_port is not None:
        raise click.UsageError("--enrolment-port needs --home, the folder with the authority and the inventory")
    if home is not None and any(files) and (enrolment_port is None or files[0] is None):
        raise click.UsageError("--home brings its own config, certificate and key: give one or the other")


# --- A config of one's own --------------------------------------------------------------------------------------------


def _serve_config(service: Service, home: Path | None, port: int | None, passphrase_file: Path | None) -> None:
    if home is None or port is None:
        serve(service, lambda addresses: _talk(f"Serving {addresses.url}"))
        return
    if service.certificate is None or service.key is None:
        raise ServeError("keys are handed out over TLS alone", "give --certificate and --key, too")
    outlet = _make_outlet(Registry(home, None, lambda: find_passphrase(passphrase_file)), service)

    def announce(addresses: Addresses) -> None:
        _talk(f"Serving {addresses.url}")
        _talk(f"Handing out keys at {_leave_settings(outlet, service, addresses)}")

    with outlet.registry.inventory, _leaving_no_address(outlet):
        serve(service._replace(enrolment=Enrolment(outlet, port, renewal=_find_link(service.config))), announce)


def _make_outlet(registry: Registry, service: Service) -> Outlet:
    """Profiles are signed by a server that phones trust already; the signature of any other would only look wrong."""
    if service.certificate is None or service.key is None:
        return Outlet(registry)
    below = registry.folder / INTERMEDIATE
    authorities = [registry.root, *([read_certificate(below)] if below.exists() else [])]
    own = is_of(read_chain(service.certificate)[0], authorities)
    return Outlet(registry, own, None if own else read_signer(service.certificate, service.key))


def _leave_settings(outlet: Outlet, service: Service, addresses: Addresses) -> str | None:
    """Writes down for commands and pages where everything is; returns where keys are handed out."""
    if service.certificate is None:
        return None
    host = choose_host(service.host, read_chain(service.certificate)[0])
    inventory = outlet.registry.inventory
    inventory.write_setting(APP_URL, f"{_join(host, addresses.port)}/")
    inventory.write_setting(APP_NAME, _find_app_name(service.config) or host)
    if addresses.enrolment_port is None:
        return None
    url = _join(host, addresses.enrolment_port)
    inventory.write_setting(ENROLMENT_URL, url)
    inventory.write_setting(ENROLMENT_AUTHORITY, outlet.find_place().authority or "")
    return url


@contextmanager
def _leaving_no_address(outlet: Outlet) -> Iterator[None]:
    """At the end no command sends a device to pages that nobody serves any more."""
    try:
        yield
    finally:
        # Whoever stops a server has reasons, and a database that is gone is none to complain now.
        with suppress(PKIError):
            outlet.registry.inventory.write_setting(ENROLMENT_URL, "")


def _join(host: str, port: int) -> str:
    bracketed = f"[{host}]" if ":" in host else host
    return f"https://{bracketed}" if port == 443 else f"https://{bracketed}:{port}"


def _find_app_name(config: Path) -> str | None:
    """What the rules call their first application."""
    applications = _read_rules(config).get("applications")
    first = applications[0] if isinstance(applications, list) and applications else None
    name = first.get("name") if isinstance(first, dict) else None
    return name if isinstance(name, str) else None


def _find_link(config: Path) -> str | None:
    """Where the rules have devices renew their keys."""
    renewal = _read_rules(config).get("renewal")
    link = renewal.get("link") if isinstance(renewal, dict) else None
    return link if isinstance(link, str) else None


def _read_rules(config: Path) -> Mapping[str, object]:
    """As they are written; nothing where they cannot be read, which whoever obeys them says better."""
    try:
        document = read_document(config, Files())
    except ConfigError:
        return {}
    return document if isinstance(document, dict) else {}


# --- A home -----------------------------------------------------------------------------------------------------------


def _serve_home(
    service: Service, folder: Path, enrolment_port: int | None, passphrase_file: Path | None, *, optional: bool
) -> None:
    hosts = find_hosts(service.host)
    home = open_home(folder, hosts, ask_for(passphrase_file))
    # An app that keeps files of its own finds the folder here.
    os.environ["KEYFOB_HOME"] = str(home.folder)
    _describe_home(home, hosts)
    service = service._replace(config=home.config, certificate=home.server, key=home.server_key)
    # Nobody sits at a terminal for those who renew in the app.
    outlet = _make_outlet(home.registry(lambda: find_passphrase(passphrase_file)), service)
    service = service._replace(enrolment=Enrolment(outlet, enrolment_port, optional, _find_link(home.config)))
    with outlet.registry.inventory, _leaving_no_address(outlet):
        serve(service, lambda addresses: _describe_addresses(home, service, outlet, addresses))


def _describe_home(home: Home, hosts: list[str]) -> None:
    _talk(f"  folder     {home.folder}")
    _talk(f"  rules      {home.config}")
    name, end = read_device(home)
    renewal = "" if end > datetime.now(UTC) else f"; it has ended: keyfob renew {DEVICE_NAME}"
    _talk(f"  device     {name}, until {end:%Y-%m-%d}{renewal}")
    if strangers := unnamed_hosts(home, hosts):
        _talk(f"  note       the server's certificate does not name {', '.join(strangers)}; to be reached there, move")
        _talk(f"             {home.server.name} and {home.server_key.name} away for a new one, and add the names")
        _talk(f"             to {home.config.name}")


def _describe_addresses(home: Home, service: Service, outlet: Outlet, addresses: Addresses) -> None:
    try:
        enrolment = _leave_settings(outlet, service, addresses)
    except PKIError as error:
        raise ServeError(error.message, error.hint) from error
    _talk(f"  address    {addresses.url}")
    if enrolment is not None:
        _talk(f"  enrolment  {enrolment}")
    elif service.enrolment is not None and service.enrolment.port is not None:
        _talk(
            f"  note       port {service.enrolment.port} is taken, so no keys are handed out; choose another one with"
        )
        _talk("             --enrolment-port")
    curl = ["curl", "--cacert", home.authority, "--cert", _escape(home.device), "--key", home.device_key]
    _talk(f"\nTry it in another terminal:\n  {shlex.join(map(str, [*curl, f'{addresses.url}/']))}")
    if enrolment is not None:
        _talk(_describe_phone(home, service))
    _talk("\nCtrl+C stops.")


def _escape(path: Path) -> str:
    """For curl's --cert alone, which takes what follows a colon for a password."""
    return str(path).replace("\\", "\\\\").replace(":", "\\:")


def _describe_phone(home: Home, service: Service) -> str:
    line = shlex.join(["keyfob", "enrol", "My phone", "--home", str(home.folder)])
    if service.host in LOOPBACK:
        again = "start again with --host=0.0.0.0 (with make, HOST=0.0.0.0)"
        return f"\nOnto a phone: {again}, so that it can reach this machine. Then\n  {line}"
    return f"\nOnto a phone, in another terminal:\n  {line}"


def _prepare_logging() -> None:
    """Warnings and refusals to stderr, one line each; the server's own chatter stays quiet."""
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.WARNING, stream=sys.stderr)
    # Whoever has just withdrawn a key, changed a rule, or waits for a device, wants to see that it has happened.
    for name in ("keyfob.live", "keyfob.enrolment", "keyfob.server.neighbour"):
        logging.getLogger(name).setLevel(logging.INFO)
    # Said once more by this command, with the reason.
    logging.getLogger("uvicorn.error").addFilter(
        lambda line: line.getMessage() != "Application startup failed. Exiting."
    )


def _talk(text: str) -> None:
    click.echo(text, err=True)
