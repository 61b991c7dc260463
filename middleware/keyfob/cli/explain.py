"""`keyfob explain`: would this certificate get in, and why not?"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from keyfob.addresses import Address, parse_address
from keyfob.cli.terminal import escape, say, wrap
from keyfob.config.checking import Lines, find_places, load
from keyfob.errors import ConfigError, KeyfobError
from keyfob.explanation import Kind, Step, Trace, describe_request, explain_certificate, read_chain
from keyfob.policy import Allow, User

_FILE = click.Path(path_type=Path, readable=False)


@click.command("explain")
@click.option("--config", type=_FILE, default="access.toml", show_default=True, help="The rules.")
@click.option(
    "--certificate", type=_FILE, help="The device's certificate, PEM, with what it sends along; none if left out."
)
@click.option("--url", required=True, help="What it asks for, such as https://money.example.com/admin.")
@click.option("--method", default="GET", show_default=True, help="The method of the request.")
@click.option("--header", "headers", multiple=True, help="A header of the request, 'Name: value'; may be given often.")
@click.option("--ip", help="The client's own address; rules about it stay open if left out.")
@click.option("--at", help="The moment, such as 2027-01-31T08:00:00+00:00; now if left out.")
@click.option("--email", help="The address of somebody who has logged in; nobody has if left out.")
@click.option("--provider", help="Where they have logged in, by its name or id; may be left out where there is one.")
@click.option("--group", "groups", multiple=True, help="A group that they are in; may be given often.")
@click.option("--amr", "methods", multiple=True, help="How they have proved it, such as mfa; may be given often.")
@click.option("--json", "as_json", is_flag=True, help="The whole trace as one JSON object.")
def explain_command(
    config: Path,
    certificate: Path | None,
    url: str,
    method: str,
    headers: Sequence[str],
    ip: str | None,
    at: str | None,
    email: str | None,
    provider: str | None,
    groups: Sequence[str],
    methods: Sequence[str],
    *,
    as_json: bool,
) -> int:
    """Say whether a certificate, or somebody who has logged in, would get in, and why.

    Walks source, chain, revocation, application, and each policy with its rules. Nothing is asked over the network:
    what an OCSP responder would say is not known here. The status is 0 if it would be let in, and 1 if not.
    """
    moment = _read_moment(at)
    address = _read_address(ip)
    scope = describe_request(url, _read_method(method), [_read_header(each) for each in headers])
    try:
        assembly, lines = load(config)
    except ConfigError as error:
        raise KeyfobError(error.message, error.hint or f"keyfob check {config} says more, with the lines") from error
    chain = read_chain(certificate) if certificate else ()
    places = find_places(assembly)
    if email is None and (provider or groups or methods):
        raise click.BadParameter("say who it is, too: --provider, --group and --amr go with it", param_hint="--email")
    user = None if email is None else _describe_user(email, provider, groups, methods, assembly.gate.names.providers)
    trace = explain_certificate(assembly.gate, chain, scope, moment.timestamp(), address, places, user)
    say(json.dumps(_as_json(trace, lines)) if as_json else "\n".join(_as_lines(trace.steps, lines)))
    if address is None and not as_json and any(map(_is_open, trace.steps)):
        click.echo("hint: where a ? stands, give the client's own address with --ip", err=True)
    return 0 if isinstance(trace.decision, Allow) else 1


def _describe_user(
    email: str, provider: str | None, groups: Sequence[str], methods: Sequence[str], known: Mapping[str, str]
) -> User:
    ids = set(known.values())
    if "@" not in email:
        raise click.BadParameter(f"{email[:40]!r} is no address; write rhea.group@example.com", param_hint="--email")
    if provider is None and len(ids) == 1:
        [provider] = ids
    if provider is None or provider not in known:
        unsaid = "say by which provider" if provider is None else f"{provider[:40]!r} is no provider; there are"
        said = f"{unsaid}: {', '.join(sorted(ids))}" if ids else "nobody can log in by these rules: there is none"
        raise click.BadParameter(said, param_hint="--provider")
    return User(email, known[provider], frozenset(methods), frozenset(groups), subject=email)


def _read_moment(text: str | None) -> datetime:
    try:
        moment = datetime.fromisoformat(text) if text is not None else datetime.now(UTC)
        _ = moment.timestamp()
    except (ValueError, OverflowError):
        raise click.BadParameter(f"{text!r} is no moment; write 2027-01-31T08:00:00+00:00", param_hint="--at") from None
    if moment.tzinfo is None:
        aware = moment.replace(tzinfo=UTC).isoformat()
        raise click.BadParameter(f"{text!r} has no zone; write {aware} for UTC", param_hint="--at")
    if not EARLIEST <= moment <= LATEST:
        raise click.BadParameter(f"{text!r} is out of any certificate's time", param_hint="--at")
    return moment


# What X.509 can write of time, with room for a zone at either end: RFC 5280 section 4.1.2.5.
EARLIEST, LATEST = datetime(1950, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)


def _read_method(text: str) -> str:
    if text.upper() != text:
        raise click.BadParameter(f"methods have capital letters; write {text.upper()}", param_hint="--method")
    return text


def _read_header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise click.BadParameter(f"{text!r} is no header; write 'Name: value'", param_hint="--header")
    return name.strip(), value.strip()


def _read_address(text: str | None) -> Address | None:
    address = parse_address(text) if text is not None else None
    if text is not None and address is None:
        raise click.BadParameter(f"{text!r} is no address; write 192.0.2.7 or 2001:db8::1", param_hint="--ip")
    return address


def _as_lines(steps: Sequence[Step], lines: Lines, depth: int = 0) -> Iterator[str]:
    for step in steps:
        sign, colour = _MARKS[step.held]
        mark = sign if escape(sign) == sign else _PLAIN_MARKS[step.held]
        indent = "  " * depth
        behind = indent + " " * (len(mark) + 1)
        where = lines.show(step.place)
        said = _say(step, depth) + (f" [{where}]" if where else "")
        first, *others = wrap(said, behind, behind + "  ")
        yield indent + click.style(mark, fg=colour, bold=True) + first.removeprefix(indent + " " * len(mark))
        yield from others
        if step.hint:
            yield from wrap(f"hint: {step.hint}", behind, behind + "  ")
        yield from _as_lines(step.parts, lines, depth + 1)


def _say(step: Step, depth: int) -> str:
    return f"{step.kind}: {step.said}" if depth == 0 and step.kind is not Kind.DECISION else step.said


_MARKS = {True: ("✓", "green"), False: ("✗", "red"), None: ("?", "yellow")}
# For a terminal that has no such characters.
_PLAIN_MARKS = {True: "+", False: "-", None: "?"}


def _is_open(step: Step) -> bool:
    """Whether a rule in it is left open that asks for the client's address."""
    asks = step.kind is Kind.RULE and step.held is None and step.said.partition(" ")[2].startswith(("ip", "geo"))
    return asks or any(map(_is_open, step.parts))


def _as_json(trace: Trace, lines: Lines) -> dict[str, Any]:
    decision = trace.decision
    return {
        "admitted": isinstance(decision, Allow),
        "reason": None if isinstance(decision, Allow) else str(decision.reason),
        "application": decision.application,
        "policy": decision.policy,
        "steps": [_describe(step, lines) for step in trace.steps],
    }


def _describe(step: Step, lines: Lines) -> dict[str, Any]:
    file, line = lines.find(step.place) if step.place else (None, None)
    return {
        "kind": str(step.kind),
        "said": step.said,
        "held": step.held,
        "hint": step.hint,
        "file": file,
        "line": line,
        "parts": [_describe(part, lines) for part in step.parts],
    }
