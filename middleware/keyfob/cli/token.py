"""`keyfob token`: what scripts show instead of a certificate or a login."""

import json
import shlex
import time
from pathlib import Path
from typing import Any

import click

from keyfob.cli.options import inventory_options, open_registry, show_day, show_moment, talk
from keyfob.cli.terminal import escape, say
from keyfob.inventory.logins import Token
from keyfob.policy.selectors import parse_duration

LONGEST_DAYS = 3650
WIDEST_NAME = 40
_json = click.option("--json", "as_json", is_flag=True, help="One JSON object, for programs.")


@click.group("token", no_args_is_help=False)
def token_command() -> None:
    """Make and withdraw the tokens of scripts."""


@token_command.command("create")
@click.argument("name")
@click.option(
    "--days", type=click.IntRange(1, LONGEST_DAYS), default=365, show_default=True, help="For how long it counts."
)
@_json
@inventory_options
def create_command(name: str, days: int, home: Path, inventory: str | None, *, as_json: bool) -> None:
    """Make a token, and show its secret: now, and never again.

    A rule names it, as in { service_token = { token_id = "Nightly import" } }.
    """
    with open_registry(home, inventory) as registry:
        token, secret = registry.inventory.logins.create_token(name, time.time(), days)
    _show_secret(token, secret, as_json=as_json)


@token_command.command("list")
@_json
@inventory_options
def list_command(home: Path, inventory: str | None, *, as_json: bool) -> None:
    """List every token: its name, its state, since when and until when, and its id. Days are in UTC."""
    now = time.time()
    with open_registry(home, inventory) as registry:
        tokens = registry.inventory.logins.list_tokens()
    if as_json:
        for token in tokens:
            say(json.dumps(_describe(token, now)))
        return
    width = min(WIDEST_NAME, max((len(escape(each.name)) for each in tokens), default=0))
    if tokens:
        say(_align(max(width, 4), "NAME", "STATE", "SINCE", "UNTIL", "ID"))
    for each in tokens:
        days = show_day(each.created_at), show_day(each.revoked_at or each.expires_at)
        say(_align(max(width, 4), escape(each.name), _find_state(each, now), *days, each.token_id))


@token_command.command("rotate")
@click.argument("name")
@click.option("--grace", default="24h", show_default=True, help="For how long the old secret counts still; 0 for none.")
@_json
@inventory_options
def rotate_command(name: str, grace: str, home: Path, inventory: str | None, *, as_json: bool) -> None:
    """Give a token another secret; its id stays, and the old secret goes on for a while."""
    seconds = 0 if grace == "0" else parse_duration(grace)
    if seconds is None:
        raise click.BadParameter(f"{grace[:40]!r} is no duration; write 24h, 7d or 0", param_hint="--grace")
    with open_registry(home, inventory) as registry:
        token, secret = registry.inventory.logins.rotate_token(name, time.time(), seconds)
    _show_secret(token, secret, as_json=as_json)
    if token.previous_until is not None:
        talk(f"the old secret counts until {show_moment(token.previous_until)}")


@token_command.command("revoke")
@click.argument("name")
@inventory_options
def revoke_command(name: str, home: Path, inventory: str | None) -> None:
    """Withdraw a token for good: every server refuses it within a second."""
    with open_registry(home, inventory) as registry:
        token = registry.inventory.logins.revoke_token(name, time.time())
    talk(f"revoked: {token.name}, {token.token_id}")


def _show_secret(token: Token, secret: str, *, as_json: bool) -> None:
    if as_json:
        said = {"name": token.name, "client_id": token.token_id, "client_secret": secret}
        say(json.dumps({**said, "expires_at": _iso(token.expires_at)}))
        return
    say(f"Keyfob-Client-Id: {token.token_id}\nKeyfob-Client-Secret: {secret}")
    talk(
        f"{shlex.quote(token.name)} counts until {show_day(token.expires_at)}. The secret is shown this once. "
        "Send both lines as headers, as in: curl -H @FILE https://…"
    )


def _find_state(token: Token, now: float) -> str:
    if token.revoked_at is not None:
        return "revoked"
    return "expired" if token.expires_at <= now else "active"


def _describe(token: Token, now: float) -> dict[str, Any]:
    """Moments are ISO 8601, UTC, or null."""
    is_in_grace = token.previous_until is not None and token.previous_until > now
    return {
        "name": token.name,
        "client_id": token.token_id,
        "state": _find_state(token, now),
        "created_at": _iso(token.created_at),
        "expires_at": _iso(token.expires_at),
        "revoked_at": _iso(token.revoked_at),
        "previous_until": _iso(token.previous_until) if is_in_grace else None,
    }


def _iso(seconds: int | None) -> str | None:
    return None if seconds is None else show_moment(seconds).replace(" ", "T")


def _align(width: int, name: str, state: str, since: str, until: str, token_id: str) -> str:
    return f"{name:<{width}}  {state:<8}  {since:<10}  {until:<10}  {token_id}"
