"""`keyfob`: the group of commands, and how any of them fails."""

import sys
from typing import NoReturn

import click

import keyfob
from keyfob.cli.serve import serve_command
from keyfob.errors import KeyfobError


@click.group(no_args_is_help=False, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(keyfob.__version__, message="keyfob %(version)s")
def commands() -> None:
    """Your own devices are the key to your web apps."""


commands.add_command(serve_command)


def main() -> NoReturn:
    """The console script. Status 1 is a refusal, 2 a wrong use of the command; errors are never a traceback."""
    try:
        status = commands.main(prog_name="keyfob", standalone_mode=False)
    except click.UsageError as error:
        _fail(error.format_message(), f"see `{error.ctx.command_path if error.ctx else 'keyfob'} --help`", 2)
    except KeyfobError as error:
        _fail(error.message, error.hint, 1)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(130)
    sys.exit(status if isinstance(status, int) else 0)


def _fail(message: str, hint: str, status: int) -> NoReturn:
    click.echo(f"error: {message}", err=True)
    if hint:
        click.echo(f"hint: {hint}", err=True)
    sys.exit(status)
