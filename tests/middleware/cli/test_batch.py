"""cli.batch: what a batch says, to a terminal and to a log."""

import os
import pty
import subprocess
from pathlib import Path

import pytest

from batches import require_one_each, write_rows
from keyfob.cli.batch import Meter, describe, run_batch
from keyfob.errors import PKIError
from keyfob.pki.batch.issuing import Progress, Stage
from keyfob.pki.batch.rows import MOST_FAULTS
from keyfob.pki.registry import Registry
from registries import make_registry
from servers import environment, keyfob


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return make_registry(tmp_path / "home")


def run(registry: Registry, source: Path, out: Path) -> None:
    run_batch(registry, source, out, kind="p256", days=30, processes=1)


def test_the_command_makes_a_certificate_for_every_row(registry: Registry, tmp_path: Path) -> None:
    """From the shell, with nothing on stdout and the outcome on stderr."""
    source, out = write_rows(tmp_path / "devices.csv", ["a", "b"]), tmp_path / "fleet"
    command = keyfob("issue", "--batch", source, "--out", out, "--home", registry.folder)
    first, second = (
        subprocess.run(command, env=environment(), capture_output=True, text=True, check=True) for _ in range(2)
    )
    assert first.stdout == second.stdout == ""
    assert first.stderr == f"2 certificates made, in {out}.\n"
    assert second.stderr == f"0 certificates made, in {out}; 2 had theirs already.\n"
    require_one_each(registry, ["a", "b"], out)


def test_the_authoritys_key_is_among_nobodys_arguments(registry: Registry, tmp_path: Path) -> None:
    """Everybody on a machine can read the arguments and, as the same user, the environment of its processes."""
    source, out = write_rows(tmp_path / "devices.csv", [f"device {number}" for number in range(3000)]), tmp_path / "f"
    command = keyfob("issue", "--batch", source, "--out", out, "--home", registry.folder, "--processes", "2")
    secret = (registry.folder / "ca-key.pem").read_text().splitlines()[1]
    seen: set[bytes] = set()
    with subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL) as process:
        while process.poll() is None:
            for task in (f"/proc/{process.pid}/task/{process.pid}/children",):
                try:
                    children = Path(task).read_text().split()
                    seen |= {Path(f"/proc/{child}/cmdline").read_bytes() for child in children}
                    seen |= {Path(f"/proc/{child}/environ").read_bytes() for child in children}
                except OSError:
                    continue
    assert process.returncode == 0
    assert len([each for each in seen if b"keyfob.pki.batch.worker" in each]) >= 2
    assert not [each for each in seen if secret.encode() in each]


def test_bad_rows_are_listed_with_their_lines(
    registry: Registry, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """One a line, escaped: what a file says must not move a terminal's cursor."""
    source = tmp_path / "devices.csv"
    source.write_text("name,days\nfine,\n\x1b[2J,\na,soon\na\u202eb,\n" + "x" * 10_000 + ",\n", encoding="utf-8")
    with pytest.raises(PKIError) as raised:
        run(registry, source, tmp_path / "fleet")
    said = capfd.readouterr().err
    assert raised.value.message == "4 rows of devices.csv cannot be used, and nothing was made"
    lines = said.splitlines()
    assert [line.partition(f"{source}:")[2].partition(":")[0] for line in lines] == ["3", "4", "5", "6"]
    assert "'a': 'soon' is no number of days (such as 365)" in lines[1]
    assert said.replace("…", "").isascii()
    assert "\x1b" not in said
    assert max(map(len, lines)) < 400


def test_a_long_list_is_cut_and_counted(registry: Registry, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A terminal holds a page; whoever wants more mends these first."""
    source = write_rows(tmp_path / "devices.csv", ["a/b"] * 1234)
    with pytest.raises(PKIError, match="1234 rows"):
        run(registry, source, tmp_path / "fleet")
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == MOST_FAULTS + 1
    assert lines[-1] == "… and 1,184 more"


def test_errors_are_one_line_and_a_hint(registry: Registry, tmp_path: Path) -> None:
    """Status 1, and no traceback."""
    (tmp_path / "devices.csv").write_text("nmae\nx\n")
    command = keyfob("issue", "--batch", tmp_path / "devices.csv", "--out", tmp_path / "f", "--home", registry.folder)
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == ["error", "hint"]
    assert "did you mean 'name'?" in done.stderr


# --- Progress -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("progress", "seconds", "said"),
    [
        (Progress(Stage.RESUMING, 0, 12), 1.0, "going on where it was stopped: part 1 of 12"),
        (Progress(Stage.CHECKING, 12_000, None), 1.0, "checked 12,000 rows"),
        (Progress(Stage.ISSUING, 0, 200_000), 0.0, "0 of 200,000 certificates, 0/s"),
        (Progress(Stage.ISSUING, 50_000, 200_000), 5.0, "50,000 of 200,000 certificates, 10,000/s, 15 s left"),
        (Progress(Stage.ISSUING, 10, 1_000), 10.0, "10 of 1,000 certificates, 1/s, 16 min 30 s left"),
        (Progress(Stage.ISSUING, 1, 10_000), 1.0, "1 of 10,000 certificates, 1/s, 2 h 46 min left"),
        (Progress(Stage.FINISHING, 0, 12), 1.0, "finishing"),
    ],
)
def test_a_line_says_how_far_it_is(progress: Progress, seconds: float, said: str) -> None:
    """How much, how fast, and how long it will take."""
    assert describe(progress, seconds, with_bar=False) == said


def test_a_bar_fills_from_the_left() -> None:
    """A quarter of it for a quarter of the rows."""
    said = describe(Progress(Stage.ISSUING, 25, 100), 1.0, with_bar=True)
    assert said.startswith("[######------------------] 25 of 100 certificates")


def test_a_log_gets_a_line_every_few_seconds(capfd: pytest.CaptureFixture[str]) -> None:
    """Whole lines, and none for what is over at once."""
    now = 0.0
    meter = Meter(lambda: now)
    for each in range(21):
        now = each / 2
        meter.show(Progress(Stage.ISSUING, each, 20))
    meter.end()
    said = capfd.readouterr().err
    assert [line.partition(" ")[0] for line in said.splitlines()] == ["10", "20"]
    assert "\r" not in said


def test_a_terminal_gets_one_line_that_changes(registry: Registry, tmp_path: Path) -> None:
    """It is gone at the end, when the outcome is said."""
    source, out = write_rows(tmp_path / "devices.csv", [f"device {number}" for number in range(9000)]), tmp_path / "f"
    command = keyfob("issue", "--batch", source, "--out", out.with_suffix(".zip"), "--home", registry.folder)
    ours, theirs = pty.openpty()
    with subprocess.Popen(command, env=environment(), stderr=theirs, stdout=subprocess.DEVNULL) as process:
        os.close(theirs)
        said = b""
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:
                break
            said += piece
    os.close(ours)
    assert process.returncode == 0
    *shown, last = said.split(b"\r\x1b[K")
    assert b"of 9,000 certificates" in b"".join(shown)
    assert b"\n" not in b"".join(shown)
    assert b"9,000 certificates made" in last
