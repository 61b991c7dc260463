"""Commands in processes of their own that are killed between two steps, or that all run at once.

`python interruptions.py FOLDER COMMAND` ends the command, whose home is a copy of FOLDER, with SIGKILL before each of
its steps on disk in turn, and goes on with the same command. It prints one line of JSON a step: {"step": 3, "left":
[files after the kill], "status": of the second run, "said": by it, "home": the copy}. The last line is that of the run
which nothing has interrupted.

`python interruptions.py --at-once FOLDER` reads a list of commands in JSON, and starts them all; it prints one list of
[status, said] for each. Both fork, so that no command has to import anything: they need a process without threads.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from servers import environment

# What changes a folder. (A file's content does not count before it has its name.)
STEPS = ("link", "rename", "replace", "unlink", "rmdir", "mkdir")


def interrupt_everywhere(folder: Path, *command: str) -> Iterator[dict[str, Any]]:
    """What became of each run of the command whose home is `folder`, or the copies of it."""
    line = [sys.executable, __file__, str(folder), *command]
    with subprocess.Popen(line, env=environment(), stdout=subprocess.PIPE, text=True) as running:
        for said in running.stdout or ():
            yield json.loads(said)
    if running.returncode != 0:
        raise RuntimeError(f"{line} ended with {running.returncode}")


def run_at_once(folder: Path, commands: Sequence[Sequence[str]]) -> list[tuple[int, str]]:
    """The status of each command, and what it has said, stdout and stderr together."""
    line = [sys.executable, __file__, "--at-once", str(folder)]
    ended = subprocess.run(
        line, input=json.dumps(commands), env=environment(), capture_output=True, text=True, check=True
    )
    return [(status, said) for status, said in json.loads(ended.stdout)]


def _at_once(folder: Path, commands: list[list[str]]) -> None:
    for command in commands:
        _load(command)
    logs = [folder.with_name(f"log-{number}") for number in range(len(commands))]
    running = [_start(folder, *each, None) for each in zip(commands, logs, strict=True)]
    ended = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in running]
    print(json.dumps([[status, log.read_text()] for status, log in zip(ended, logs, strict=True)]))


def _load(command: list[str]) -> None:
    """What every run imports, once for all of them."""
    from keyfob.cli.main import SECTIONS, load

    for section in SECTIONS.values():
        if command[0] in section:
            load(section[command[0]])


def _main(folder: Path, command: list[str]) -> None:
    _load(command)
    step, killed = 0, True
    while killed:
        step += 1
        home = folder.with_name(f"{folder.name}-{step}")
        if folder.exists():
            shutil.copytree(folder, home)
        killed = os.waitstatus_to_exitcode(_run(home, command, step)[0]) == -signal.SIGKILL
        left = sorted(str(path.relative_to(home)) for path in home.rglob("*") if path.is_file())
        status, said = _run(home, command, None) if killed else (0, "")
        line = {"step": step, "left": left, "status": os.waitstatus_to_exitcode(status), "said": said}
        print(json.dumps({**line, "home": str(home)}), flush=True)


def _run(home: Path, command: list[str], kill_at: int | None) -> tuple[int, str]:
    log = home.with_name(f"log-of-{home.name}")
    return os.waitpid(_start(home, command, log, kill_at), 0)[1], log.read_text()


def _start(home: Path, command: list[str], log: Path, kill_at: int | None) -> int:
    child = os.fork()
    if child == 0:
        try:
            _run_here(home, command, log, kill_at)
        finally:
            os._exit(70)
    return child


def _run_here(home: Path, command: list[str], log: Path, kill_at: int | None) -> None:
    from keyfob.cli.main import main

    sys.argv = ["keyfob", *command, "--home", str(home)]
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    if kill_at is not None:
        _kill_before(kill_at)
    try:
        main()
    except SystemExit as ended:
        sys.stdout.flush()
        os._exit(int(ended.code or 0))


def _kill_before(number: int) -> None:
    from sqlalchemy.engine.default import DefaultDialect

    count = 0

    def counted(real: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)

        return call

    # What a killed process has written is not lost; only what a machine has.
    os.fsync = lambda fd: None
    for name in STEPS:
        setattr(os, name, counted(getattr(os, name)))
    DefaultDialect.do_commit = counted(DefaultDialect.do_commit)  # type: ignore[method-assign]


if __name__ == "__main__":
    if sys.argv[1] == "--at-once":
        _at_once(Path(sys.argv[2]), json.load(sys.stdin))
    else:
        _main(Path(sys.argv[1]), sys.argv[2:])
