"""pki.resumption: half of what was linked into place is completed, and nothing is made of less."""

import os
from pathlib import Path

from keyfob.pki.resumption import finish_together

NAMES = ("a[1].pem", "a[1]-key.pem")


def write(folder: Path, *, linked: int) -> None:
    """What `write_together` leaves that is killed after so many links."""
    for number, name in enumerate(NAMES):
        staged = folder / f".{name}.0123abcd"
        staged.write_text(name)
        if number < linked:
            os.link(staged, folder / name)


def test_what_was_begun_is_finished(tmp_path: Path) -> None:
    """Once one file is in its place, all of them are on disk."""
    write(tmp_path, linked=1)
    assert finish_together(tmp_path, NAMES)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {name: name for name in NAMES}
    assert not finish_together(tmp_path, NAMES)


def test_what_was_not_begun_is_left_alone(tmp_path: Path) -> None:
    """The other files may be cut short."""
    write(tmp_path, linked=0)
    assert not finish_together(tmp_path, NAMES)
    assert not (tmp_path / NAMES[0]).exists()


def test_a_file_of_somebody_else_proves_nothing(tmp_path: Path) -> None:
    """It has the name, but it is another file."""
    write(tmp_path, linked=0)
    (tmp_path / NAMES[0]).write_text("mine")
    assert not finish_together(tmp_path, NAMES)
    assert not (tmp_path / NAMES[1]).exists()
