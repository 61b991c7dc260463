"""What an interrupted `write_together` had begun to put in place is brought to its end."""

import os
from collections.abc import Sequence
from glob import escape
from pathlib import Path


def finish_together(folder: Path, names: Sequence[str]) -> bool:
    """Whether there was something to finish. To be called under `lock_folder`. Raises OSError.

    Nothing is linked into place before all is on disk. So where one of the files is in its place, and under its other
    name still, the others are whole, and only their links are missing.
    """
    staged = {name: path for name in names for path in folder.glob(f".{escape(name)}.{'[0-9a-f]' * 8}")}
    begun = any(_is_linked(folder / name, path) for name, path in staged.items())
    if begun:
        for name, path in staged.items():
            if not (folder / name).exists():
                os.link(path, folder / name)
            path.unlink()
    return begun


def _is_linked(target: Path, staged: Path) -> bool:
    return target.exists() and target.samefile(staged)
