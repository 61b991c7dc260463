"""What somebody does who has just got the checkout: `make run`, the line it prints, and the first expense."""

import contextlib
import os
import re
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import sys
import sysconfig
import time
import tomllib
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.markers import Marker
from python_calamine import CalamineWorkbook

from live.world import wait_for
from servers import ROOT, SECONDS_TO_START, find_port, find_program, wait_for_handshake

EXPENSE = {"id": "first", "amount": "4,50", "category": "Eating out", "date": "2025-11-23", "note": "=coffee & cake"}
MADE = [
    "access.toml",
    "budget.toml",
    "budget.xlsx",
    "bundle.pem",
    "ca-key.pem",
    "ca.pem",
    "devices/this-computer-key.pem",
    "devices/this-computer.pem",
    "inventory.db",
    "ledger.db",
    "server-key.pem",
    "server.pem",
]


class Start(NamedTuple):
    """One `make run`, from its first word to Ctrl+C."""

    said: str
    home: Path
    port: int
    page: subprocess.CompletedProcess[str]
    status: int

    @property
    def curl(self) -> str:
        return find_curl(self.said)


# --- A clean checkout -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the checkout in a folder of their own, with what `make run` would install already installed."""
    folder = tmp_path_factory.mktemp("clean") / "check out"
    for name in list_files():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)
    install(folder)
    return folder


def list_files() -> list[Path]:
    """What git has, or would take in; without git, what lies there and is not hidden."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
        names = [Path(name) for name in listed if name]
    except (OSError, subprocess.CalledProcessError):
        names = [path.relative_to(ROOT) for path in ROOT.rglob("*")]
        names = [name for name in names if not any(part.startswith((".", "__pycache__")) for part in name.parts)]
    return [name for name in names if (ROOT / name).is_file()]


def install(folder: Path) -> None:
    """What the Makefile's own recipe leaves behind, without the package index: a virtual environment in `.venv`.

    The packages are borrowed from the environment that runs this test, as a line in a .pth file; files of that kind
    which lie there, such as an editable keyfob of another checkout, are not read again. keyfob itself is this
    folder's, and its command is what pyproject.toml says it is. The fresh stamp tells make that all this is done.
    """
    venv.create(folder / ".venv", with_pip=False, symlinks=True)
    python = folder / ".venv" / "bin" / "python"
    variables = {"base": str(folder / ".venv"), "platbase": str(folder / ".venv")}
    packages = Path(sysconfig.get_path("purelib", vars=variables))
    borrowed = [path for path in sys.path if Path(path).name in {"site-packages", "dist-packages"}]
    (packages / "journey.pth").write_text("\n".join([str(folder / "middleware"), *borrowed]) + "\n", encoding="utf-8")
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, function = project["scripts"]["keyfob"].split(":")
    script = folder / ".venv" / "bin" / "keyfob"
    # As pip writes it where the interpreter's path is too long or has a blank in it.
    script.write_text(
        f"#!/bin/sh\n'''exec' {shlex.quote(str(python))} \"$0\" \"$@\"\n' '''\n"
        f"import sys\nfrom {module} import {function}\nsys.exit({function}())\n",
        encoding="utf-8",
    )
    script.chmod(0o755)
    (folder / ".venv" / "run.stamp").touch()


def test_the_copy_runs_its_own_code(checkout: Path) -> None:
    """Or everything below would be true of some other keyfob."""
    command = [str(checkout / ".venv" / "bin" / "python"), "-c", "import keyfob; print(keyfob.__file__)"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, cwd=checkout, env=clean_environment())
    assert Path(ran.stdout.strip()).is_relative_to(checkout)


def clean_environment(**more: str) -> dict[str, str]:
    """A new terminal's: nothing of this test's own make, interpreter or virtual environment."""
    ours = ("MAKE", "MFLAGS", "PYTHON", "VIRTUAL_ENV", "KEYFOB", "BUDGET", "HOST", "PORT", "VENV", "TESTS")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)} | more


# --- make run -------------------------------------------------------------------------------------------------------


@contextmanager
def making(checkout: Path, home: Path, port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`make run`, from the moment at which it answers until Ctrl+C, which a terminal sends to all of its processes."""
    make = find_program("make", "make")
    environ = clean_environment(PORT=str(port), KEYFOB_HOME=str(home))
    with log.open("wb") as output:
        process = subprocess.Popen(
            [make, "run"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=checkout,
            env=environ,
            start_new_session=True,
        )
    try:
        wait_until_it_listens(process, port, log)
        wait_for_handshake(port)
        wait_for(lambda: "Ctrl+C stops." in log.read_text(encoding="utf-8"))
        yield process
        os.killpg(process.pid, signal.SIGINT)
        process.wait(20)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_until_it_listens(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
            break
    raise RuntimeError(f"make run does not answer:\n{log.read_text(errors='replace')}")


def find_curl(said: str) -> str:
    [line] = re.findall(r"^ +(curl .+)$", said, re.MULTILINE)
    return str(line)


def paste(line: str) -> subprocess.CompletedProcess[str]:
    """What another terminal, which stands elsewhere, makes of a line."""
    find_program("curl", "curl")
    find_program("curl", "curl")
    command = ["sh", "-c", f"{line} --silent --show-error --max-time 20 --write-out '\\n%{{http_code}}'"]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", env=clean_environment())


def post(curl: str, fields: dict[str, str]) -> subprocess.CompletedProcess[str]:
    data = [word for name, text in fields.items() for word in ("--data-urlencode", f"{name}={text}")]
    return paste(shlex.join([*shlex.split(curl), *data]))


def read_rows(home: Path) -> list[list[object]]:
    """With a reader that the app does not use."""
    with CalamineWorkbook.from_path(home / "budget.xlsx") as book:
        return [list(row) for row in book.get_sheet_by_name("Expenses").to_python() if any(row)]


def list_names(home: Path) -> list[str]:
    """Every file, and whatever is gone again before anyone could look at it."""
    return [str(path.relative_to(home)) for path in home.rglob("*") if not path.is_dir()]


def snapshot(home: Path) -> dict[str, tuple[bytes, int, int]]:
    files = {name: home / name for name in list_names(home)}
    return {name: (path.read_bytes(), path.stat().st_mode, path.stat().st_mtime_ns) for name, path in files.items()}


class Journey(NamedTuple):
    """Two starts of one home, an expense in the first, and what the folder held after each."""

    first: Start
    posted: subprocess.CompletedProcess[str]
    after_first: dict[str, tuple[bytes, int, int]]
    second: Start
    after_second: dict[str, tuple[bytes, int, int]]


@pytest.fixture(scope="module")
def journey(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Journey:
    folder = tmp_path_factory.mktemp("person")
    home, port, logs = folder / "Rhea's keys", find_port(), iter((folder / "first.log", folder / "second.log"))

    def start(*expenses: dict[str, str]) -> tuple[Start, list[subprocess.CompletedProcess[str]]]:
        log = next(logs)
        with making(checkout, home, port, log) as process:
            curl = find_curl(log.read_text(encoding="utf-8"))
            page = paste(curl)
            posted = [post(curl, expense) for expense in expenses]
        return Start(log.read_text(encoding="utf-8"), home, port, page, process.returncode), posted

    first, [posted] = start(EXPENSE)
    after_first = snapshot(home)
    second, _ = start()
    return Journey(first, posted, after_first, second, snapshot(home))


def test_the_first_start_makes_everything_for_its_owner_alone(journey: Journey) -> None:
    """Keys, rules and workbook in the folder that KEYFOB_HOME names, and nothing else."""
    assert sorted(name for name in journey.after_first if not name.startswith(("backups/", "ledger.db-"))) == MADE
    assert stat.S_IMODE(journey.first.home.stat().st_mode) == 0o700
    for name, (_, mode, _) in journey.after_first.items():
        assert stat.S_IMODE(mode) == 0o600, name


def test_the_first_start_says_where_everything_is(journey: Journey) -> None:
    """Address, workbook, enrolment, and the line to try."""
    said, home = journey.first.said, journey.first.home
    assert f"address    https://localhost:{journey.first.port}\n" in said
    assert f"workbook   {home / 'budget.xlsx'}\n" in said
    assert "Onto a phone:" in said
    assert "keyfob enrol" in said


def test_the_printed_line_shows_the_page_to_the_device(journey: Journey) -> None:
    """Pasted into another terminal, though the folder's name has a space and a quote in it."""
    assert journey.first.page.returncode == 0, journey.first.page.stderr
    page, _, status = journey.first.page.stdout.rpartition("\n")
    assert status == "200"
    assert "this-computer" in page
    assert "<form" in page


def test_a_post_puts_the_expense_into_the_workbook(journey: Journey) -> None:
    """Real numbers and dates, text that stays text, and the device that sent it."""
    assert journey.posted.stdout.rpartition("\n")[2] == "303", journey.posted.stdout
    headings, *rows = read_rows(journey.first.home)
    [row] = [dict(zip(map(str, headings), row, strict=True)) for row in rows]
    assert {name: row[name] for name in ("Date", "Amount", "Category", "Note", "Device")} == {
        "Date": date(2025, 11, 23),
        "Amount": 4.5,
        "Category": "Eating out",
        "Note": "=coffee & cake",
        "Device": "this-computer",
    }


def test_the_second_start_reuses_everything(journey: Journey) -> None:
    """Not a byte is written anew, and the expense is there."""
    # The inventory says when the device was last seen.
    first, second = ({name: each for name, each in files.items() if name != "inventory.db"} for files in journey[2::2])
    assert second == first
    assert journey.second.curl == journey.first.curl
    assert journey.second.page.stdout.endswith("\n200")
    assert "coffee &amp; cake" in journey.second.page.stdout


def test_the_second_start_says_no_password(journey: Journey) -> None:
    """It was shown once."""
    assert not re.search(r"^  password ", journey.second.said, re.MULTILINE)
    assert not re.search(r"[a-z2-7]{5}(-[a-z2-7]{5}){3}", journey.second.said)


def test_nothing_is_installed_again_and_ctrl_c_is_no_traceback(journey: Journey) -> None:
    """make finds the environment as it left it; stopping is no failure worth more than make's own line."""
    for start in (journey.first, journey.second):
        assert "Installing" not in start.said
        assert "Traceback" not in start.said
        assert "error:" not in start.said


def test_only_the_device_gets_in(checkout: Path, tmp_path: Path) -> None:
    """Without the certificate there is no page, and a POST writes nothing."""
    port, home = find_port(), tmp_path / "home"
    with making(checkout, home, port, tmp_path / "log"):
        before = (home / "budget.xlsx").read_bytes()
        curl = shlex.join(
            [find_program("curl", "curl"), "--cacert", str(home / "ca.pem"), f"https://localhost:{port}/"]
        )
        answers = [paste(curl), post(curl, EXPENSE)]
    assert [answer.stdout.rpartition("\n")[2] for answer in answers] == ["401", "401"]
    assert all("<form" not in answer.stdout for answer in answers)
    assert (home / "budget.xlsx").read_bytes() == before


# --- What stands in the way -----------------------------------------------------------------------------------------


def refuse(checkout: Path, **environ: str) -> tuple[str, str]:
    """A `make run` that cannot start: its one error and its one hint."""
    command = [find_program("make", "make"), "run"]
    ended = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        cwd=checkout,
        env=clean_environment(**environ),
        timeout=60,
    )
    assert ended.returncode != 0
    assert "Traceback" not in ended.stderr
    [error] = re.findall(r"^error: (.+)$", ended.stderr, re.MULTILINE)
    [hint] = re.findall(r"^hint: (.+)$", ended.stderr, re.MULTILINE)
    return error, hint


def test_a_taken_port_is_one_error_and_a_hint(checkout: Path, tmp_path: Path) -> None:
    """With the port in it, since that is what has to change."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        error, hint = refuse(checkout, PORT=port, KEYFOB_HOME=str(tmp_path / "home"))
    assert port in error
    assert "port" in hint


def test_a_port_that_is_none_is_one_error_and_a_hint(checkout: Path, tmp_path: Path) -> None:
    """A word where a number belongs."""
    error, _ = refuse(checkout, PORT="https", KEYFOB_HOME=str(tmp_path / "home"))
    assert "https" in error
    assert not (tmp_path / "home").exists()


def test_an_unwritable_home_is_one_error_and_a_hint(checkout: Path, tmp_path: Path) -> None:
    """Below a file, where root cannot write either."""
    (tmp_path / "file").write_bytes(b"mine")
    error, hint = refuse(checkout, PORT=str(find_port()), KEYFOB_HOME=str(tmp_path / "file" / "home"))
    assert str(tmp_path / "file") in error
    assert "KEYFOB_HOME" in hint


@pytest.mark.parametrize(
    ("before", "after"),
    [('kind = "tls"', 'kind = "tsl"'), ('kind = "tls"', 'kind = "tls'), ("certificate = {}", "certifcate = {}")],
    ids=["word", "syntax", "selector"],
)
def test_broken_rules_are_one_error_and_a_hint(
    checkout: Path, journey: Journey, tmp_path: Path, before: str, after: str
) -> None:
    """With the file in it; what a person broke while editing is never repaired by writing over it."""
    home = tmp_path / "home"
    shutil.copytree(journey.first.home, home)
    rules = home / "access.toml"
    rules.write_text(rules.read_text(encoding="utf-8").replace(before, after, 1), encoding="utf-8")
    broken = rules.read_bytes()
    error, _ = refuse(checkout, PORT=str(find_port()), KEYFOB_HOME=str(home))
    assert str(rules) in error
    assert rules.read_bytes() == broken


def test_settings_that_are_none_are_one_error_and_a_hint(checkout: Path, journey: Journey, tmp_path: Path) -> None:
    """The app's own reason not to start is told as well as keyfob's."""
    home = tmp_path / "home"
    shutil.copytree(journey.first.home, home)
    (home / "budget.toml").write_text('currencey = "EUR"', encoding="utf-8")
    error, _ = refuse(checkout, PORT=str(find_port()), KEYFOB_HOME=str(home))
    assert "budget.toml" in error


def test_a_workbook_that_is_none_takes_no_expense_and_loses_none(
    checkout: Path, journey: Journey, tmp_path: Path
) -> None:
    """The app starts with a warning, and the file stays as it is."""
    home, port = tmp_path / "home", find_port()
    shutil.copytree(journey.first.home, home)
    (home / "budget.xlsx").write_bytes(b"junk")
    log = tmp_path / "log"
    with making(checkout, home, port, log):
        said = log.read_text(encoding="utf-8")
        assert post(find_curl(said), {**EXPENSE, "id": "second"}).stdout.endswith("303")
    assert re.search(r"^warning: the workbook is damaged .*\nhint: ", said, re.MULTILINE)
    assert (home / "budget.xlsx").read_bytes() == b"junk"


@pytest.mark.parametrize("name", ['"quoted"', "$HOME", "`id`", "a:b", "-k"])
def test_a_home_of_any_name_is_the_home_that_was_named(checkout: Path, tmp_path: Path, name: str) -> None:
    """What the variable holds is a name, never a piece of make's or the shell's language."""
    home = tmp_path / name
    with making(checkout, home, find_port(), tmp_path / "log"):
        # What SQLite has beside a database that is in use comes and goes.
        assert sorted(each for each in list_names(home) if not each.endswith(("-shm", "-wal", "-writer"))) == MADE


# --- What is installed ----------------------------------------------------------------------------------------------

REQUIREMENT = re.compile(
    r"(?P<pin>[a-z0-9][a-z0-9._-]*==[0-9][0-9a-z.+!]*)( ; (?P<when>[^\\]+?))?(?P<hashes>( --hash=\S+)+)"
)


class Requirement(NamedTuple):
    """Where one pin holds (everywhere if there is no condition), and the hashes of its files."""

    when: str | None
    hashes: list[str]

    def holds(self, place: dict[str, str]) -> bool:
        return self.when is None or Marker(self.when).evaluate(place)


def read_requirements(name: str) -> dict[str, Requirement]:
    """The lines of one file, by their pins."""
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    found = {}
    for line in re.sub(r" *\\\n +", " ", text).splitlines():
        match = REQUIREMENT.fullmatch(line)
        assert match, f"{name}: {line[:80]}"
        found[match["pin"]] = Requirement(match["when"], match["hashes"].split())
    return found


@pytest.mark.parametrize("name", ["run.txt", "test.txt"])
def test_every_requirement_is_pinned_and_hashed_and_names_no_registry(name: str) -> None:
    """Where packages come from is this machine's business; what they are is ours."""
    requirements = read_requirements(name)
    assert requirements
    for requirement in requirements.values():
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", each) for each in requirement.hashes)
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    assert not re.search(r"://|--(extra-)?index|--find-links|--trusted-host|^-", text, re.MULTILINE)


# What the conditions ask about, in names of pairs that come together.
PLACES = [
    {"implementation_name": name.lower(), "platform_python_implementation": name, "os_name": os_name} | system
    for name in ("CPython", "PyPy")
    for os_name, system in {
        "posix": {"sys_platform": "linux", "platform_system": "Linux"},
        "nt": {"sys_platform": "win32", "platform_system": "Windows"},
    }.items()
]


def test_what_runs_is_what_was_tested() -> None:
    """The same versions with the same hashes, wherever they are installed to run."""
    tested = read_requirements("test.txt")
    for pin, requirement in read_requirements("run.txt").items():
        assert tested[pin].hashes == requirement.hashes, pin
        assert all(tested[pin].holds(place) for place in PLACES if requirement.holds(place)), pin
