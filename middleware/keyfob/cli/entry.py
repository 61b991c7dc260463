"""The console script. It is installed with the middleware, but what it needs comes with the extra `cli`."""

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Runs `keyfob`, or says what is missing for it."""
    try:
        from keyfob.cli.main import main as run  # noqa: PLC0415 - the import is what may fail
    except ModuleNotFoundError as error:
        sys.stderr.write(f"error: the command needs the package {error.name}\nhint: pip install 'keyfob[cli]'\n")
        sys.exit(1)
    run()
