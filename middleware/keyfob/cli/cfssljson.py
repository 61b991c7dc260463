"""`keyfob cfssljson`: takes apart what `keyfob cfssl` prints."""

import click

from keyfob.cli.goflags import GoCommand, call, read, write
from keyfob.pki.cfssl.answers import read_answer, save


@click.command("cfssljson", cls=GoCommand)
@click.option("--bare", is_flag=True, help="What `cfssl` prints, rather than what its server sends.")
@click.option("--f", "f", default="-", help="The JSON: FILE, or - for stdin, which is the default.")
@click.option("--stdout", is_flag=True, help="Show it all instead of writing files.")
@click.argument("basename", metavar="[BASENAME]", default="cert")
def cfssljson_command(basename: str, *, bare: bool, f: str, stdout: bool) -> None:
    """Write what cfssl has printed into files.

    They are BASENAME.pem, BASENAME-key.pem and BASENAME.csr, whichever of them the JSON holds.

    Keys are for their owner alone, and are never written over: with a key, either all files are new or none is made.
    """
    pieces = read_answer(read(f), call(f), bare=bare)
    if stdout:
        for piece in pieces:
            write(piece.text)
    else:
        save(pieces, basename)
