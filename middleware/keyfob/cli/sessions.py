"""`keyfob sessions`: people who have logged in are logged out, wherever they are."""

import time
from pathlib import Path

import click

from keyfob.cli.options import inventory_options, open_registry, shorten, talk


@click.group("sessions", no_args_is_help=False)
def sessions_command() -> None:
    """Log people out, wherever they have logged in."""


@sessions_command.command("end")
@click.argument("who", required=False)
@click.option("--everybody", is_flag=True, help="Every session there is.")
@inventory_options
def end_command(who: str | None, home: Path, inventory: str | None, *, everybody: bool) -> None:
    """End the sessions of WHO, an address or PROVIDER:SUBJECT as a record has it: within a second, on every server.

    Whoever may log in can do so again: take the address out of the rules, too, or have the provider lock the account.
    """
    if everybody == (who is not None):
        raise click.UsageError("name somebody, or say --everybody")
    now = time.time()
    with open_registry(home, inventory) as registry:
        logins = registry.inventory.logins
        if who is None:
            logins.end_everybody(now)
        elif "@" in who:
            logins.end_address(who, now)
        elif ":" in who:
            logins.end_person(who, now, now + LONGEST)
        else:
            raise click.BadParameter(f"{shorten(who)!r} is neither an address nor PROVIDER:SUBJECT", param_hint="WHO")
    talk("ended: every session" if who is None else f"ended: every session of {who}")


LONGEST = 32 * 86_400
