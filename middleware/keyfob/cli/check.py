"""`keyfob check`: is this configuration sound?"""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from keyfob.cli.terminal import escape, find_width, say, wrap
from keyfob.config.checking import Finding, check


@click.command("check")
@click.argument("config", type=click.Path(path_type=Path, readable=False), default="access.toml")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a finding, one a line, for programs.")
@click.option("--strict", is_flag=True, help="Warnings fail, too.")
def check_command(config: Path, *, as_json: bool, strict: bool) -> int:
    """Check a configuration, access.toml by default.

    Every problem at once, each with its line, and what to do about it. A sound configuration may still have warnings:
    policies that can never match, a deny that another policy overrules, a root or a revocation list that is about to
    end. The status is 1 for problems, and with --strict for warnings.
    """
    stock: list[str] = []
    findings = check(config, datetime.now(UTC), stock)
    for finding in findings:
        say(_as_json(finding) if as_json else "\n".join(_as_lines(finding)))
    if not as_json:
        for line in (*stock, _summarise(config, findings)):
            click.echo(line, err=True)
    return 1 if any(strict or not finding.is_warning for finding in findings) else 0


def _as_json(finding: Finding) -> str:
    place, message, hint, _ = finding.problem
    kind = "warning" if finding.is_warning else "problem"
    return json.dumps(
        {
            "kind": kind,
            "file": finding.file,
            "line": finding.line,
            "place": place,
            "message": message,
            "hint": hint,
            "text": finding.text,
        }
    )


def _as_lines(finding: Finding) -> Iterator[str]:
    """What is wrong, the line of the file where it is, and what to do about it."""
    place, message, hint, _ = finding.problem
    where = finding.file if finding.line is None else f"{finding.file}:{finding.line}"
    kind, colour = ("warning", "yellow") if finding.is_warning else ("problem", "red")
    first, *others = wrap(f"{where}: {kind}: {f'{place}: ' if place else ''}{message}", further="    ")
    yield first.replace(f": {kind}: ", f": {click.style(kind, fg=colour, bold=True)}: ", 1)
    yield from others
    if finding.text:
        yield click.style(escape(_cut(f"    {finding.line} | {finding.text}")), dim=True)
    if hint:
        yield from wrap(f"hint: {hint}", "    ", "    ")


def _cut(text: str) -> str:
    width = find_width()
    return text if len(text) <= width else text[: width - 1] + "…"


def _summarise(config: Path, findings: Sequence[Finding]) -> str:
    problems = sum(not finding.is_warning for finding in findings)
    if problems:
        return f"{problems} problem{'' if problems == 1 else 's'}: nobody would be let in"
    warnings = len(findings)
    said = f", with {warnings} warning{'' if warnings == 1 else 's'}" if warnings else ""
    return f"{escape(str(config))} is sound{said}"
