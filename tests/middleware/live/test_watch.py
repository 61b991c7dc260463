"""live: a change of the files becomes a new Gate, everywhere and soon; a mistake in them does not."""

import gc
import logging
import multiprocessing
import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from keyfob.config.files import TICK, Files
from keyfob.errors import ConfigError, Problem
from keyfob.gate import Gate
from keyfob.live import Watch, health
from keyfob.live.watch import LATE, LIVING
from keyfob.sources.tls import TLSSource
from keyfob.trust import Roots
from servers import environment

# Long enough for a busy machine; nothing waits for it on a quiet one.
SECONDS = 30


class Named(Gate):
    """A gate that knows what it was built from."""

    def __init__(self, text: str) -> None:
        super().__init__(TLSSource(), {}, Roots((), ()))
        self.text = text


class Loader:
    """Builds gates from one file: `broken` is a mistake, `bug` ours, and `slow` takes as long as the test likes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.loaded: list[str] = []
        self.threads: list[threading.Thread] = []
        self.go_on = threading.Event()

    def __call__(self, files: Files) -> Gate:
        text = files.read(self.path).decode()
        self.loaded.append(text)
        self.threads.append(threading.current_thread())
        if text.startswith("broken"):
            raise ConfigError("access.toml", [Problem("policies", text), Problem("domain", "is missing")])
        if text == "bug":
            raise ZeroDivisionError
        if text == "panic":
            raise Panic
        if text == "slow":
            self.go_on.wait(SECONDS)
        return Named(text)


class Panic(BaseException):
    """What a Rust extension raises is no Exception either."""


class Skin:
    """What a middleware does about gates."""

    gate: Gate

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        watch.subscribe(self.swap)

    def swap(self, gate: Gate) -> None:
        self.gate = gate


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keyfob.live.watch.PAUSE", 0.02)
    monkeypatch.setattr("keyfob.live.watch.SETTLING", 0.03)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "access.toml"
    write(path, "one")
    return path


@pytest.fixture
def loader(path: Path) -> Loader:
    return Loader(path)


@pytest.fixture
def watch(loader: Loader) -> Iterator[Watch]:
    watch = Watch(loader, "access.toml")
    yield watch
    loader.go_on.set()
    watch.close()


def write(path: Path, text: str) -> None:
    """Writes aside and renames, long enough ago for the file not to count as just written."""
    aside = path.with_suffix(".new")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)
    time.sleep(2 * TICK / 1e9)


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)


def text_of(gate: Gate) -> str:
    return gate.text if isinstance(gate, Named) else ""


def test_the_first_state_is_built_here_and_now(watch: Watch, loader: Loader) -> None:
    """Whoever makes a watch has a gate, built in his own thread."""
    assert text_of(watch.gate) == "one"
    assert loader.threads == [threading.current_thread()]


def test_a_first_state_that_is_broken_is_raised(path: Path, loader: Loader) -> None:
    """Nothing starts by a configuration that cannot be obeyed, and nothing is left of it."""
    write(path, "broken")
    with pytest.raises(ConfigError, match="2 problems"):
        Watch(loader)
    assert not [each for each in LIVING if each._load is loader]


def test_a_change_reaches_every_listener(watch: Watch, path: Path) -> None:
    """Each middleware that listens has the new gate, and it is one and the same."""
    first, second = Skin(watch), Skin(watch)
    assert first.gate is second.gate is watch.gate
    write(path, "two")
    wait_for(lambda: text_of(first.gate) == text_of(second.gate) == "two")
    assert first.gate is second.gate is watch.gate


def test_a_new_state_is_built_in_a_thread_of_its_own(watch: Watch, path: Path, loader: Loader) -> None:
    """No event loop stands still for it."""
    skin = Skin(watch)
    write(path, "two")
    wait_for(lambda: text_of(skin.gate) == "two")
    assert loader.threads[-1].name == "keyfob.live"
    assert loader.threads[-1].daemon


def test_what_does_not_change_is_not_built_again(watch: Watch, loader: Loader) -> None:
    """Looking costs a few system calls and no more."""
    skin = Skin(watch)
    before = watch.checked_at
    wait_for(lambda: watch.checked_at > before)
    wait_for(lambda: watch.checked_at > before + 0.1)
    assert loader.loaded == ["one"]
    assert skin.gate is watch.gate


def test_a_broken_state_changes_nothing_and_is_said_once(
    watch: Watch, path: Path, loader: Loader, caplog: pytest.LogCaptureFixture
) -> None:
    """The old gate stays, the log has every problem one time, and it is not tried again before a file changes."""
    skin = Skin(watch)
    old = skin.gate
    write(path, "broken here")
    wait_for(lambda: watch.problem)
    for _ in range(3):
        watch.look()
    assert skin.gate is watch.gate is old
    # Once more for what else there may be, with what was good before.
    assert loader.loaded == ["one", "broken here", "one"]
    [record] = [record for record in caplog.records if record.name == "keyfob.live"]
    assert record.levelno == logging.ERROR
    assert "policies: broken here" in record.getMessage()
    assert "domain: is missing" in record.getMessage()


def test_mending_is_seen_and_said(watch: Watch, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """After the mistake, the next state that can be obeyed is in force, and the log says so."""
    skin = Skin(watch)
    write(path, "broken")
    wait_for(lambda: watch.problem)
    write(path, "mended")
    wait_for(lambda: text_of(skin.gate) == "mended" and not watch.problem)
    wait_for(lambda: "access.toml: mended, and in force" in caplog.messages)


def test_a_file_that_is_still_being_written_is_not_read(watch: Watch, path: Path, loader: Loader) -> None:
    """A state is read once it has looked the same twice."""
    for length in range(1, 6):
        path.write_text("x" * length)
        watch.look()
    assert loader.loaded == ["one"]
    watch.look()
    # Twice is not enough if it was twice in one moment: somebody else may have looked just before.
    watch.look()
    assert loader.loaded == ["one"]
    wait_for(watch.look)
    assert loader.loaded == ["one", "xxxxx"]


def test_files_that_never_rest_are_said(
    watch: Watch, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Waiting for ever without a word would be a change that is silently ignored."""
    monkeypatch.setattr("keyfob.live.watch.LONGEST_UNREST", 0)
    skin = Skin(watch)
    for length in range(2, 6):
        path.write_text("x" * length)
        watch.look()
        time.sleep(0.001)
    assert any("keep changing" in message for message in caplog.messages)
    wait_for(lambda: text_of(skin.gate) == "xxxxx")
    assert not watch.unrest


@pytest.mark.parametrize("trouble", ["bug", "panic"])
def test_nothing_unexpected_ends_the_looking(
    watch: Watch, path: Path, trouble: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A mistake of ours must not keep the revocation after it from being seen."""
    skin = Skin(watch)
    write(path, trouble)
    wait_for(lambda: "unexpected" in watch.problem)
    wait_for(lambda: any(record.exc_info for record in caplog.records))
    write(path, "two")
    wait_for(lambda: text_of(skin.gate) == "two")
    assert not watch.problem


def test_what_failed_unexpectedly_is_tried_again(
    watch: Watch, path: Path, loader: Loader, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It may have been for want of memory or files, and no stamp tells when there is enough; it is still said once."""
    monkeypatch.setattr("keyfob.live.watch.RETRY", 0)
    skin = Skin(watch)
    write(path, "bug")
    wait_for(lambda: loader.loaded.count("bug") >= 3)
    assert text_of(skin.gate) == "one"
    assert sum("unexpected" in message for message in caplog.messages) == 1


def test_a_listener_that_cannot_take_the_new_state_is_offered_it_again(
    watch: Watch, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The others have it meanwhile, and health says that somebody has not."""
    monkeypatch.setattr("keyfob.live.watch.RETRY", 0)
    attempts: list[str] = []

    def hesitate(gate: Gate) -> None:
        attempts.append(text_of(gate))
        if attempts.count("two") == 1:
            raise ConfigError("[audit]", [Problem("audit.file", "cannot be opened")])

    watch.subscribe(hesitate)
    skin = Skin(watch)
    write(path, "two")
    wait_for(lambda: attempts.count("two") == 2 and not watch.problem)
    assert text_of(skin.gate) == "two"
    assert any("audit.file: cannot be opened" in message for message in caplog.messages)


def test_a_discarded_middleware_is_not_kept(path: Path) -> None:
    """The watch ends with the last that listened, and so does its thread."""
    loader = Loader(path)
    skin = Skin(Watch(loader))
    thread = skin.watch._thread
    assert thread is not None
    gone = weakref.ref(skin.watch)
    del skin
    gc.collect()
    wait_for(lambda: not thread.is_alive())
    gc.collect()
    assert gone() is None


def test_whoever_comes_after_the_thread_has_ended_starts_another(watch: Watch, path: Path) -> None:
    """A watch that nobody listened to for a while is as good as a new one."""
    skin = Skin(watch)
    thread = watch._thread
    del skin
    wait_for(lambda: thread is not None and not thread.is_alive())
    skin = Skin(watch)
    write(path, "two")
    wait_for(lambda: text_of(skin.gate) == "two")


def test_close_ends_the_looking_for_good(watch: Watch, path: Path, loader: Loader) -> None:
    """The last gate stays, and neither thread nor request looks again."""
    skin = Skin(watch)
    thread = watch._thread
    watch.close()
    assert thread is not None
    assert not thread.is_alive()
    write(path, "two")
    watch.ensure(time.time() + 10 * LATE)
    assert text_of(skin.gate) == "one"
    assert loader.loaded == ["one"]


class TestEnsure:
    """What a request does where no thread is let run."""

    def test_a_request_looks_if_nobody_has(
        self, watch: Watch, path: Path, loader: Loader, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A request after a second without a look is judged by the files as they are."""
        monkeypatch.setattr(Watch, "_start", lambda _: None)
        skin = Skin(watch)
        write(path, "two")
        watch.ensure(watch.checked_at + LATE)
        assert text_of(skin.gate) == "two"
        assert loader.threads[-1] is threading.current_thread()

    def test_a_clock_that_was_set_back_is_no_reason_not_to_look(
        self, watch: Watch, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The time of the last look may lie in the future then."""
        monkeypatch.setattr(Watch, "_start", lambda _: None)
        skin = Skin(watch)
        write(path, "two")
        watch.checked_at += 3600
        watch.ensure(time.time())
        assert text_of(skin.gate) == "two"

    def test_a_request_does_not_look_if_somebody_has(self, watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where the thread runs, a request compares two numbers."""
        monkeypatch.setattr(Watch, "look", lambda _: pytest.fail("looked"))
        watch.ensure(watch.checked_at + LATE / 2)
        watch.ensure(watch.checked_at - LATE / 2)

    def test_a_thread_that_gets_a_moment_in_a_request_does_not_hide_a_change(
        self, watch: Watch, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It has seen that something changed, and will not run again before the request is answered."""
        monkeypatch.setattr(Watch, "_start", lambda _: None)
        skin = Skin(watch)
        write(path, "two")
        watch.checked_at -= 2 * LATE
        assert not watch.look()
        watch.ensure(time.time())
        assert text_of(skin.gate) == "two"

    def test_a_file_that_does_not_rest_holds_up_few_requests(
        self, watch: Watch, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One a second, and for a moment."""
        monkeypatch.setattr(Watch, "_start", lambda _: None)
        # Of this watch alone: one of another test may not have ended yet.
        monkeypatch.setattr(Watch, "look", lambda each: looks.append(1) if each is watch else True)
        looks: list[int] = []
        watch.checked_at -= 2 * LATE
        for _ in range(5):
            watch.ensure(time.time())
        assert len(looks) == 3

    def test_a_fork_that_python_was_not_told_of_is_noticed(self, watch: Watch, path: Path) -> None:
        """uWSGI's workers: the thread that seems to run is the master's, and so is whoever holds the lock."""
        skin = Skin(watch)
        locked = threading.Thread(target=watch._looking.acquire)
        locked.start()
        locked.join()
        watch._process -= 1
        write(path, "two")
        watch.ensure(time.time() + 2 * LATE)
        assert text_of(skin.gate) == "two"

    def test_a_request_does_not_wait_for_a_new_state(self, watch: Watch, path: Path, loader: Loader) -> None:
        """While another thread builds it, requests are judged by the old one."""
        skin = Skin(watch)
        write(path, "slow")
        wait_for(lambda: "slow" in loader.loaded)
        watch.ensure(watch.checked_at + 10 * LATE)
        assert text_of(skin.gate) == "one"
        loader.go_on.set()
        wait_for(lambda: text_of(skin.gate) == "slow")

    def test_a_request_starts_the_thread_anew_if_it_is_gone(self, watch: Watch) -> None:
        """Whatever ended it."""
        skin = Skin(watch)
        watch._stop.set()
        thread = watch._thread
        assert thread is not None
        thread.join(SECONDS)
        watch._stop = threading.Event()
        watch.ensure(watch.checked_at + 2 * LATE)
        assert watch._thread is not None
        assert watch._thread.is_alive()
        assert skin.gate is watch.gate


class TestForks:
    """What gunicorn --preload and uWSGI do."""

    @pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
    def test_a_forked_worker_looks_for_itself(self, watch: Watch, path: Path) -> None:
        """No thread comes along into the child; it begins one."""
        skin = Skin(watch)
        fork = multiprocessing.get_context("fork")
        mine, its = fork.Pipe()

        def work() -> None:
            its.send(text_of(skin.gate))
            wait_for(lambda: text_of(skin.gate) == "two")
            its.send(text_of(skin.gate))

        child = fork.Process(target=work)
        child.start()
        try:
            assert mine.recv() == "one"
            write(path, "two")
            assert mine.poll(SECONDS)
            assert mine.recv() == "two"
            wait_for(lambda: text_of(skin.gate) == "two")
        finally:
            child.kill()
            child.join()
            mine.close()
            its.close()

    @pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
    def test_a_fork_waits_until_no_state_is_half_built(self, watch: Watch, path: Path, loader: Loader) -> None:
        """What the thread holds at that moment, here or in OpenSSL, would stay locked in the child."""
        Skin(watch).watch.subscribe(keep := (lambda _: None))
        write(path, "slow")
        wait_for(lambda: "slow" in loader.loaded)
        threading.Timer(0.1, loader.go_on.set).start()
        child = os.fork()
        if child == 0:
            os._exit(0 if text_of(watch.gate) == "slow" else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert keep is not None

    @pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
    def test_a_fork_that_would_not_wait_builds_the_state_in_the_child(
        self, watch: Watch, path: Path, loader: Loader, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The stamps are already those of the new files there, and still it has not been built."""
        monkeypatch.setattr("keyfob.live.watch.LONGEST_BUILDING", 0.01)
        skin = Skin(watch)
        write(path, "slow")
        wait_for(lambda: "slow" in loader.loaded)
        child = os.fork()
        if child == 0:
            loader.go_on.set()
            deadline = time.monotonic() + SECONDS
            while text_of(skin.gate) != "slow" and time.monotonic() < deadline:
                time.sleep(0.01)
            os._exit(0 if text_of(skin.gate) == "slow" else 1)
        assert os.waitpid(child, 0)[1] == 0

    def test_a_process_ends_while_its_files_are_watched(self, path: Path) -> None:
        """Nobody has to close anything; the thread keeps no process alive."""
        script = (
            "import pathlib; from keyfob.live import Watch\n"
            "def load(files): files.read(pathlib.Path('access.toml')); return 1\n"
            "class Skin:\n    def swap(self, gate): self.gate = gate\n"
            "skin = Skin(); watch = Watch(load); watch.subscribe(skin.swap); print(skin.gate)"
        )
        said = subprocess.run(
            [sys.executable, "-c", script],
            cwd=path.parent,
            env=environment(),
            capture_output=True,
            check=False,
            text=True,
            timeout=SECONDS,
        )
        assert (said.returncode, said.stdout, said.stderr) == (0, "1\n", "")


class TestHealth:
    """One answer for a process."""

    @pytest.fixture(autouse=True)
    def alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Middleware that other tests have left behind is none of ours."""
        living: weakref.WeakSet[Watch] = weakref.WeakSet()
        monkeypatch.setattr("keyfob.live.watch.LIVING", living)
        monkeypatch.setattr("keyfob.live.condition.LIVING", living)

    def test_all_is_well_while_the_files_are_in_force(self, watch: Watch) -> None:
        """`since` is when they were read."""
        skin = Skin(watch)
        found = health()
        assert (found.ok, found.problem, found.since) == (True, "", watch.since)
        assert [state.name for state in found.configurations] == ["access.toml"]
        assert skin.gate is watch.gate

    def test_a_broken_file_shows_until_it_is_mended(self, watch: Watch, path: Path) -> None:
        """With the whole problem, and with the time of what is still in force."""
        skin = Skin(watch)
        since = watch.since
        write(path, "broken here")
        wait_for(lambda: not health().ok)
        assert "policies: broken here" in health().problem
        assert health().since == since
        write(path, "two")
        wait_for(lambda: health().ok)
        assert health().since == watch.since > since
        assert text_of(skin.gate) == "two"

    def test_one_broken_configuration_is_enough(self, watch: Watch, path: Path, tmp_path: Path) -> None:
        """Each is listed with its own state."""
        other = tmp_path / "other.toml"
        write(other, "one")
        skins = Skin(watch), Skin(Watch(Loader(other), "other.toml"))
        write(path, "broken")
        wait_for(lambda: not health().ok)
        assert [(state.name, state.ok) for state in health().configurations] == [
            ("access.toml", False),
            ("other.toml", True),
        ]
        skins[1].watch.close()

    def test_nothing_watched_is_not_well(self) -> None:
        """A process that follows no configuration cannot vouch for one."""
        assert not health().ok
        assert health().since is None

    def test_silence_is_not_well(self, watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
        """A thread that nobody lets run sees no revocation."""
        monkeypatch.setattr(Watch, "_start", lambda _: None)
        skin = Skin(watch)
        watch.checked_at -= 60
        assert not health().ok
        assert "nobody has looked" in health().problem
        assert skin.gate is watch.gate

    def test_files_that_never_rest_show(self, watch: Watch) -> None:
        """What has not been read for their sake is not in force."""
        skin = Skin(watch)
        watch.unrest = "access.toml: its files keep changing"
        assert health().problem == "access.toml: its files keep changing"
        assert skin.gate is watch.gate
