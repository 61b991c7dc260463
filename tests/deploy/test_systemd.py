"""deploy/systemd: systemd accepts the units, and their very command lines serve. No systemd runs here as process 1."""

import contextlib
import os
import re
import shlex
import shutil
import socket
import stat
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from deploy.fronts.nginx import find_wheel, read_file, run_nginx
from deploy.identities import World
from deploy.setting import HOST, Setting, adapt
from servers import SECONDS_TO_START, environment, find_port, find_program, running

# How exposed systemd holds each unit to be, in tenths: the second one has to speak with the network.
EXPOSURE = {"money.service": 10, "money-direct.service": 20}
GROUP = 64321
NOBODY = 65534


def read_unit(name: str) -> str:
    """The text of a unit with this interpreter's programs, and without what ends a line early."""
    bin_folder = sysconfig.get_path("scripts")
    return adapt(f"systemd/{name}", {"/opt/money/venv/bin": bin_folder}).replace("\\\n", " ")


def find_setting(unit: str, name: str) -> str:
    """The one value of a setting."""
    [found] = re.findall(rf"^{name}=(.*)$", unit, re.MULTILINE)
    return str(found)


def read_command(unit: str, **replacements: str) -> list[str]:
    """ExecStart as systemd would split it, with each left side, which has to occur, replaced by the right."""
    line = find_setting(unit, "ExecStart")
    for old, new in {"money.web:app": "deploy.fronted_app:app", **replacements}.items():
        assert old in line, old
        line = line.replace(old, new)
    assert "%" not in line
    return shlex.split(line)


def write_rules(folder: Path, world: World, *, direct: bool = False) -> Path:
    """access.toml as it stands, or with what the page says to change in it for the second unit."""
    text = adapt("systemd/access.toml", {})
    if direct:
        text, changed = re.subn(r'kind = "header"\nformat = .*\ntrusted_proxies = .*\n', 'kind = "tls"\n', text)
        assert changed == 1
    shutil.copy(world.ca, folder / "ca.pem")
    (folder / "access.toml").write_text(text, encoding="utf-8")
    return folder / "access.toml"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that other users may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="money-") as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


@contextlib.contextmanager
def serving(command: Sequence[str], path: Path, folder: Path, rules: Path) -> Iterator[None]:
    """Runs `command` until the end, and goes on as soon as the socket at `path` answers."""
    log = folder / "app.log"
    with log.open("wb") as output:
        env = environment(FRONTED_CONFIG=str(rules))
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=folder, env=env)
    try:
        deadline = time.monotonic() + SECONDS_TO_START
        while not _answers(path):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(log.read_text(encoding="utf-8", errors="replace"))
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(SECONDS_TO_START)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection, contextlib.suppress(OSError):
        connection.connect(str(path))
        return True
    return False


@contextlib.contextmanager
def serving_on_socket(folder: Path, world: World) -> Iterator[Path]:
    """The first unit's command line, in a folder as systemd makes it."""
    unit = read_unit("money.service")
    assert find_setting(unit, "RuntimeDirectory") == "money"
    own = folder / "money"
    own.mkdir()
    own.chmod(int(find_setting(unit, "RuntimeDirectoryMode"), 8))
    if os.geteuid() == 0:
        os.chown(own, 0, GROUP)
    path = own / "app.sock"
    command = read_command(unit, **{"/run/money/app.sock": str(path)})
    with serving(command, path, folder, write_rules(folder, world)):
        yield path


def curl(*arguments: str | Path) -> str:
    """What came back."""
    command = [find_program("curl", "curl"), "--silent", "--max-time", "30", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def curl_as_nobody(groups: list[int], path: Path) -> str | None:
    """What came back through the socket at `path`, or None where the connection failed."""
    command = [find_program("curl", "curl"), "--silent", "--max-time", "30", "--unix-socket", path, f"http://{HOST}/"]
    run = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        check=False,
        user=NOBODY,
        group=NOBODY,
        extra_groups=groups,
    )
    return None if run.returncode == 7 else run.stdout


@pytest.mark.parametrize("name", EXPOSURE)
def test_systemd_accepts_the_unit(name: str, tmp_path: Path) -> None:
    """Every setting is known to it, every program is there, and it holds the service to be locked up well."""
    analyze = find_program("systemd-analyze", "systemd")
    (tmp_path / name).write_text(read_unit(name), encoding="utf-8")
    verified = subprocess.run([analyze, "verify", tmp_path / name], capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")
    options = ["--offline=true", "--no-pager", f"--threshold={EXPOSURE[name]}"]
    rated = subprocess.run(
        [analyze, "security", *options, tmp_path / name], capture_output=True, text=True, check=False
    )
    assert rated.returncode == 0, rated.stdout


def test_the_group_has_the_proxy_in_it(tmp_path: Path) -> None:
    """systemd-sysusers makes the group that the unit names, and www-data is a member."""
    program = find_program("systemd-sysusers", "systemd")
    (tmp_path / "etc").mkdir()
    (tmp_path / "money.conf").write_text(adapt("systemd/money.sysusers.conf", {}), encoding="utf-8")
    subprocess.run([program, f"--root={tmp_path}", tmp_path / "money.conf"], capture_output=True, check=True)
    groups = dict(line.split(":")[0::3] for line in (tmp_path / "etc" / "group").read_text().splitlines())
    assert groups[find_setting(read_unit("money.service"), "Group")] == "www-data"


def test_the_app_on_a_socket_lets_a_device_in_through_nginx(folder: Path, world: World) -> None:
    """The first unit's command line, behind nginx with its own file: with a certificate, and without."""
    port = find_port()
    setting = Setting(folder / "nginx", port, 0, world.server, world.server_key, world.ca)
    setting.folder.mkdir()
    certificate, key = world.identities["valid"].files
    with serving_on_socket(folder, world) as path:
        site = read_file(setting).replace("server 127.0.0.1:0;", f"server unix:{path};")
        assert str(path) in site
        with run_nginx(find_wheel(), setting, site):
            there: list[str | Path] = ["--cacert", world.ca, "--connect-to", f"::127.0.0.1:{port}", f"https://{HOST}/"]
            told = curl("--cert", certificate, "--key", key, *there)
            assert str(world.identities["valid"].fingerprint) in told
            assert "certificate-missing" in curl(*there)


def test_the_folder_is_the_lock(folder: Path, world: World) -> None:
    """uvicorn's socket is open to all; its folder lets in nobody but its owner and the group."""
    with serving_on_socket(folder, world) as path:
        assert stat.S_IMODE(path.stat().st_mode) == 0o666
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o710


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
def test_nobody_outside_the_group_gets_to_the_socket(folder: Path, world: World) -> None:
    """Whoever could would be believed whatever it writes, as the member of the group is."""
    with serving_on_socket(folder, world) as path:
        assert curl_as_nobody([], path) is None
        assert "certificate-missing" in (curl_as_nobody([GROUP], path) or "")


def test_the_app_without_a_proxy_lets_a_device_in(folder: Path, world: World) -> None:
    """The second unit's command line: with a certificate, and without."""
    port = find_port()
    unit = read_unit("money-direct.service")
    credentials = dict(line.split(":") for line in re.findall(r"^LoadCredential=(.*)$", unit, re.MULTILINE))
    assert credentials == {name: f"/etc/keyfob/{name}" for name in ("server.pem", "server-key.pem")}
    for source, name in ((world.server, "server.pem"), (world.server_key, "server-key.pem")):
        shutil.copy(source, folder / name)
    rules = write_rules(folder, world, direct=True)
    command = read_command(
        unit,
        **{
            "fronted_app:app": "fronted_app:tell",
            "/etc/keyfob/access.toml": str(rules),
            "%d": str(folder),
            "--host 0.0.0.0 --port 443": f"--host 127.0.0.1 --port {port}",
        },
    )
    certificate, key = world.identities["valid"].files
    with running(command, port, folder, environment(FRONTED_CONFIG=str(rules))):
        there: list[str | Path] = ["--cacert", world.ca, "--connect-to", f"::127.0.0.1:{port}", f"https://{HOST}/"]
        told = curl("--cert", certificate, "--key", key, *there)
        assert str(world.identities["valid"].fingerprint) in told
        assert "certificate-missing" in curl(*there)
