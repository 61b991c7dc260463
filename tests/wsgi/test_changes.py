"""A change of the configuration is live in every worker of uWSGI, which forks without a word to Python."""

import shutil
from pathlib import Path

import pytest

from live.world import wait_for
from servers import find_port
from wsgi.fleet import Place, start_uwsgi
from wsgi.wire import ask, write_request
from wsgi.world import World

WAYS = {
    # As uWSGI is by default: no thread of Python's ever runs.
    "no threads": (),
    "threads": ("--enable-threads",),
    "threads that begin before the fork": ("--threads", "2"),
    "an app that each worker loads by itself": ("--enable-threads", "--lazy-apps"),
}


@pytest.mark.parametrize("options", WAYS.values(), ids=WAYS)
def test_a_change_is_live_in_every_worker(world: World, tmp_path: Path, options: tuple[str, ...]) -> None:
    """Who was let in is refused, and let in again when the rules say so; a broken file in between changes nothing."""
    doors, port = tmp_path / "doors", find_port()
    doors.mkdir()
    for name in ("ca.pem", "bundle.pem", "open.toml"):
        shutil.copy(world.doors / name, doors)
    log = tmp_path / f"server-{port}.log"
    opened = (doors / "open.toml").read_text(encoding="utf-8")

    def write(rules: str) -> None:
        (doors / "new").write_text(rules, encoding="utf-8")
        (doors / "new").replace(doors / "open.toml")

    def everyone_says(outcome: str) -> bool:
        try:
            return all(ask(port, write_request("/open")).outcome == outcome for _ in range(12))
        except ConnectionError:
            # A worker that still loads its app hangs up.
            return False

    start = start_uwsgi("--http-socket", "{address}", "--processes", "2", *options)
    with start(Place(tmp_path, port, world.folder, doors)):
        wait_for(lambda: everyone_says("let in"))
        write(opened.replace('"bypass"', '"deny"'))
        wait_for(lambda: everyone_says("blocked-by-policy"))
        write("no TOML")
        wait_for(lambda: everyone_says("blocked-by-policy") and "the old state stays in force" in log.read_text())
        write(opened)
        wait_for(lambda: everyone_says("let in"))
