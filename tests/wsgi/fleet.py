"""Real WSGI servers, each started as its documentation says, around the app in `wsgi_echo`."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from servers import ROOT, SECONDS_TO_START, environment, find_port, find_program, running

SERVE = Path(__file__).with_name("serve.py")
APP = "wsgi_echo:app"


@dataclass(frozen=True)
class Place:
    """What a server is given. `keys` has ca.pem, server.pem and server-key.pem, `doors` the configurations."""

    folder: Path
    port: int
    keys: Path
    doors: Path

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def files(self) -> dict[str, str]:
        return {name: str(self.keys / f"{name}.pem") for name in ("server", "server-key", "ca")}

    def run(self, *command: str | Path, **env: str) -> AbstractContextManager[object]:
        """Runs a command until it is left, once it answers on the port."""
        return running(command, self.port, self.folder, environment(ECHO_DOORS=str(self.doors), **env))


Start = Callable[[Place], AbstractContextManager[object]]


def tool(name: str) -> str:
    """A program that belongs to a package of this virtual environment."""
    return str(Path(sys.executable).with_name(name))


# --- From PyPI --------------------------------------------------------------------------------------------------------


def start_gunicorn(*options: str, tls: bool = False, **env: str) -> Start:
    """gunicorn with its worker and what else `options` and its environment say."""

    def start(place: Place) -> AbstractContextManager[object]:
        keys = place.files
        asking = ["--certfile", keys["server"], "--keyfile", keys["server-key"], "--ca-certs", keys["ca"]]
        asking = [*asking, "--cert-reqs", "1"] if tls else []
        # The socket by which gunicorn can be asked about itself lies where only one of them can have it.
        return place.run(tool("gunicorn"), "-b", place.address, "--no-control-socket", *asking, *options, APP, **env)

    return start


def start_waitress(*options: str) -> Start:
    return lambda place: place.run(tool("waitress-serve"), f"--listen={place.address}", *options, APP)


def start_from_python(name: str, *, tls: bool = False) -> Start:
    """cheroot or werkzeug."""
    return lambda place: place.run(sys.executable, SERVE, name, str(place.port), *([place.keys] if tls else []))


def start_granian(place: Place) -> AbstractContextManager[object]:
    return place.run(tool("granian"), "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(place.port), APP)


def start_uvicorn(place: Place) -> AbstractContextManager[object]:
    return place.run(tool("uvicorn"), "--interface", "wsgi", "--port", str(place.port), APP)


# --- From Debian, on Debian's Python ----------------------------------------------------------------------------------


def find_site() -> Path:
    """The folder with keyfob's dependencies for Debian's own Python; where there is none, the test is skipped."""
    folder = os.environ.get("KEYFOB_DEBIAN_SITE")
    if not folder:
        pytest.skip("needs KEYFOB_DEBIAN_SITE, a folder with requirements/run.txt for Debian's Python: see .ci/run")
    return Path(folder)


def start_uwsgi(*options: str, plugins: str = "python3") -> Start:
    """uWSGI with the options of one line; `{ca}` and the like are put in."""

    def start(place: Place) -> AbstractContextManager[object]:
        binary, site = find_program("uwsgi", "uwsgi-core"), find_site()
        if not Path("/usr/lib/uwsgi/plugins/python3_plugin.so").exists():
            pytest.skip("needs uWSGI's plugin for Python, from the Debian package uwsgi-plugin-python3")
        path = os.pathsep.join(map(str, (ROOT / "middleware", ROOT / "tests", site)))
        given = [option.format(address=place.address, **place.files) for option in options]
        # --die-on-term: what stops every other program only restarts this one.
        command = [binary, "--plugin", plugins, "--module", APP, "--need-app", "--master", "--die-on-term", *given]
        return place.run(*command, PYTHONPATH=path)

    return start


def _is_open_to_all(folder: Path) -> bool:
    return all(each.stat().st_mode & 0o001 for each in (folder, *folder.resolve().parents))


_MODULES = "mpm_event authz_core setenvif remoteip socache_shmcb ssl wsgi"
_APACHE = """\
ServerRoot {folder}
ServerName localhost
PidFile {folder}/apache.pid
DefaultRuntimeDir {folder}
ErrorLog /dev/stderr
{modules}
{user}
Listen {address}
WSGIDaemonProcess app processes=1 threads=4 python-path={path}
WSGIProcessGroup app
WSGIChunkedRequest On
WSGIScriptAlias / {folder}/wsgi_echo.py
<Directory {folder}>
    Require all granted
</Directory>
{site}
"""
_VARIABLES = """\
SSLEngine on
SSLCertificateFile {server}
SSLCertificateKeyFile {server-key}
SSLCACertificateFile {ca}
SSLVerifyDepth 3
SSLOptions +StdEnvVars +ExportCertData
SSLSessionCache shmcb:{folder}/sessions(512000)
"""
# cryptography works in one interpreter of a process alone, and each host has its own by default.
_FIRST = "WSGIApplicationGroup %{{GLOBAL}}\n"
APACHE_ASKS = "SSLVerifyClient optional\n" + _VARIABLES + _FIRST
APACHE_ASKS_AND_LETS_ALL_IN = "SSLVerifyClient optional_no_ca\n" + _VARIABLES + _FIRST
# Without a list of proxies, mod_remoteip believes everybody.
APACHE_BELIEVES_ALL = "RemoteIPHeader X-Forwarded-For\n" + _FIRST
APACHE_TELLS_ITS_PEER = 'SetEnvIfExpr "%{{CONN_REMOTE_ADDR}} =~ /(.+)/" CONN_REMOTE_ADDR=$1\n'


def start_apache(site: str) -> Start:
    """Apache with mod_wsgi, in daemon mode."""

    @contextlib.contextmanager
    def start(place: Place) -> Iterator[object]:
        binary, libraries = find_program("apache2", "apache2"), find_site()
        if not Path("/usr/lib/apache2/modules/mod_wsgi.so").exists():
            pytest.skip("needs mod_wsgi, from the Debian package libapache2-mod-wsgi-py3")
        # Apache gives up root's rights, and with them the sight of a test's own folder.
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            folder.chmod(0o755)
            shutil.copytree(ROOT / "middleware" / "keyfob", folder / "keyfob")
            shutil.copytree(place.doors, folder / "doors")
            if not _is_open_to_all(libraries):
                libraries = Path(shutil.copytree(libraries, folder / "site"))
            shutil.copy(ROOT / "tests" / "wsgi_echo.py", folder)
            for path in folder.rglob("*"):
                path.chmod(path.stat().st_mode | (0o055 if path.is_dir() else 0o044))
            configuration = _APACHE.format(
                folder=folder,
                modules="\n".join(
                    f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so" for name in _MODULES.split()
                ),
                # Apache refuses to serve as root.
                user="User www-data\nGroup www-data" if os.geteuid() == 0 else "",
                address=place.address,
                path=f"{folder}:{libraries}",
                site=site.format(folder=folder, **place.files),
            )
            (place.folder / "apache.conf").write_text(configuration, encoding="utf-8")
            command = [binary, "-D", "FOREGROUND", "-f", str(place.folder / "apache.conf")]
            # mod_wsgi asks the first python3 on the path where its modules are.
            env = environment(ECHO_DOORS=str(folder / "doors"), PATH="/usr/sbin:/usr/bin:/sbin:/bin", PYTHONPATH="")
            with running(command, place.port, place.folder, env) as server:
                yield server

    return start


# --- All of them ------------------------------------------------------------------------------------------------------

UWSGI_ASKS = ("--https", "{address},{server},{server-key},HIGH,{ca}", "--buffer-size", "32768")

STARTS: dict[str, Start] = {
    # With TLS of their own, asking for a certificate that nobody has to have.
    "gunicorn": start_gunicorn("-k", "sync", tls=True),
    "gunicorn-gthread": start_gunicorn("-k", "gthread", "--threads", "2", tls=True),
    "cheroot": start_from_python("cheroot", tls=True),
    "werkzeug": start_from_python("werkzeug", tls=True),
    "uwsgi": start_uwsgi(*UWSGI_ASKS, "--socket", "uwsgi.sock", plugins="python3,http"),
    "uwsgi-over-tcp": start_uwsgi(*UWSGI_ASKS, plugins="python3,http"),
    "uwsgi-https-socket": start_uwsgi("--https-socket", "{address},{server},{server-key},HIGH,{ca}"),
    "mod_wsgi": start_apache(APACHE_ASKS),
    "mod_wsgi-optional_no_ca": start_apache(APACHE_ASKS_AND_LETS_ALL_IN),
    # Behind a proxy, which the tests are.
    "gunicorn-plain": start_gunicorn(),
    "gunicorn-gthread-plain": start_gunicorn("-k", "gthread", "--threads", "2"),
    "gunicorn-prefixed": start_gunicorn(SCRIPT_NAME="/shop"),
    "gunicorn-dangerous": start_gunicorn("--header-map", "dangerous"),
    "gunicorn-forwarder": start_gunicorn("--forwarder-headers", "SCRIPT_NAME,X_SSL_CLIENT_CERT"),
    "gunicorn-proxy-protocol": start_gunicorn("--proxy-protocol", "auto"),
    "waitress-plain": start_waitress(),
    "waitress-forwarded": start_waitress("--no-clear-untrusted-proxy-headers"),
    "waitress-trusting": start_waitress("--trusted-proxy=*", "--trusted-proxy-headers=x-forwarded-for"),
    "werkzeug-plain": start_from_python("werkzeug"),
    "mod_wsgi-plain": start_apache(APACHE_TELLS_ITS_PEER + APACHE_BELIEVES_ALL),
    "mod_wsgi-silent": start_apache(APACHE_BELIEVES_ALL),
    "cheroot-plain": start_from_python("cheroot"),
    "uwsgi-plain": start_uwsgi("--http-socket", "{address}"),
    "granian-plain": start_granian,
    "uvicorn-plain": start_uvicorn,
}


class Fleet:
    """Servers of STARTS, each started when a test first asks for its port."""

    def __init__(self, keys: Path, doors: Path, folder: Path, stack: ExitStack) -> None:
        self._keys, self._doors, self._folder, self._stack = keys, doors, folder, stack
        self._ports: dict[str, int] = {}

    def __getitem__(self, name: str) -> int:
        if name not in self._ports:
            folder, port = self._folder / name, find_port()
            folder.mkdir(exist_ok=True)
            self._stack.enter_context(STARTS[name](Place(folder, port, self._keys, self._doors)))
            self._ports[name] = port
        return self._ports[name]


@contextlib.contextmanager
def running_on_file(command: Sequence[str], path: Path, doors: Path) -> Iterator[None]:
    """Runs a command that listens on the UNIX socket `path`, in the folder of that."""
    with (path.parent / "server.log").open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=path.parent,
            env=environment(ECHO_DOORS=str(doors)),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + SECONDS_TO_START
        while not _answers(path):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command!r} does not answer:\n{(path.parent / 'server.log').read_text()}")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect_ex(str(path)) == 0
