"""README.md's examples for WSGI: every block runs as it stands, but for its port."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import MethodType, SimpleNamespace

import pytest

from keyfob.carriers import SERVERS
from keyfob.pki.home import open_home
from servers import ROOT, environment, find_port, find_program, make_client, running
from wsgi.fleet import Place, find_site, start_apache, tool
from wsgi.wire import Answer, ask_tls, write_request

README = (ROOT / "README.md").read_text(encoding="utf-8")

# What Flask would answer, for the Python of Debian, which has none.
PLAIN_APP = """\
from keyfob.wsgi import AccessMiddleware, client_certificate

def hello(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"Hello, {client_certificate(environ).common_name}!\\n".encode()]

app = AccessMiddleware(hello, roots=".keyfob/ca.pem")
"""


def block(language: str, marker: str) -> str:
    """The one fenced block of `language` that holds `marker`."""
    [found] = [text for text in re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL) if marker in text]
    return str(found)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as `make run` leaves it, with the README's Flask app."""
    open_home(tmp_path / ".keyfob", ["localhost"])
    (tmp_path / "hello_flask.py").write_text(block("python", "Flask(__name__)"), encoding="utf-8")
    return tmp_path


def knock(folder: Path, port: int, *device: str) -> Answer:
    home = folder / ".keyfob"
    client = make_client(home / "ca.pem", *(home / name for name in device))
    return ask_tls(port, client, write_request("/"))


def assert_open_to_the_device_alone(folder: Path, port: int) -> None:
    """What all the examples have in common."""
    assert (
        knock(folder, port, "devices/this-computer.pem", "devices/this-computer-key.pem").body
        == b"Hello, this-computer!\n"
    )
    assert knock(folder, port).outcome == "certificate-missing"


def command_of(text: str, port: int) -> Sequence[str]:
    """A shell block as a command, on another port than the one it names."""
    words = re.sub(r"127\.0\.0\.1:\d+", f"127.0.0.1:{port}", text.replace("\\\n", " "))
    name, *arguments = shlex.split(words)
    return [tool(name) if Path(tool(name)).exists() else find_program(name, f"{name}-core"), *arguments]


# The socket by which gunicorn can be asked about itself lies where only one of them can have it.
QUIET = "--no-control-socket"


def test_the_flask_example_runs(folder: Path) -> None:
    """With gunicorn, by the command below it."""
    port = find_port()
    with running([*command_of(block("sh", "gunicorn hello_flask:app"), port), QUIET], port, folder):
        assert_open_to_the_device_alone(folder, port)


def test_the_protected_flask_app_differs_by_one_line(folder: Path) -> None:
    """Imports aside."""
    lines = [line for line in (folder / "hello_flask.py").read_text().splitlines() if "import" not in line]
    assert [line for line in lines if "AccessMiddleware" in line] == [
        'app.wsgi_app = AccessMiddleware(app.wsgi_app, roots=".keyfob/ca.pem")'
    ]


def test_the_django_example_runs(folder: Path) -> None:
    """At the end of the wsgi.py that Django itself writes for a new project."""
    subprocess.run([sys.executable, "-m", "django", "startproject", "mysite", "."], cwd=folder, check=True)
    with (folder / "mysite" / "wsgi.py").open("a", encoding="utf-8") as file:
        file.write(block("python", "AccessMiddleware(application"))
    (folder / "mysite" / "urls.py").write_text(
        "from django.http import HttpResponse\n"
        "from django.urls import path\n"
        "from keyfob.wsgi import client_certificate\n"
        "def hello(request):\n"
        '    return HttpResponse(f"Hello, {client_certificate(request).common_name}!\\n")\n'
        'urlpatterns = [path("", hello)]\n',
        encoding="utf-8",
    )
    port = find_port()
    command = [
        "mysite.wsgi" if word == "hello_flask:app" else word
        for word in command_of(block("sh", "gunicorn hello_flask:app"), port)
    ]
    with running([*command, QUIET], port, folder):
        assert_open_to_the_device_alone(folder, port)


@pytest.mark.parametrize("marker", ["BuiltinSSLAdapter", "run_simple"])
def test_the_servers_that_are_started_from_python_run(folder: Path, marker: str) -> None:
    """cheroot and werkzeug."""
    port = find_port()
    program = re.sub(r'"127\.0\.0\.1", \d+', f'"127.0.0.1", {port}', block("python", marker))
    assert str(port) in program
    with running([sys.executable, "-c", program], port, folder):
        assert_open_to_the_device_alone(folder, port)


def test_the_uwsgi_example_runs(folder: Path) -> None:
    """As Debian's uWSGI, on Debian's Python."""
    port, site = find_port(), find_site()
    command = command_of(block("sh", "uwsgi --plugin"), port)
    (folder / "hello_flask.py").write_text(PLAIN_APP, encoding="utf-8")
    env = environment(PYTHONPATH=os.pathsep.join([str(ROOT / "middleware"), str(site)]))
    with running(command, port, folder, env):
        assert_open_to_the_device_alone(folder, port)


def test_the_lines_for_apache_are_all_that_it_needs(folder: Path) -> None:
    """In a virtual host with TLS; and the headers that a proxy writes can be believed, too."""
    home, doors = folder / ".keyfob", folder / "doors"
    doors.mkdir()
    (doors / "ca.pem").write_bytes((home / "ca.pem").read_bytes())
    for name, source in (("tls", '"tls"'), ("nginx", '"header"\nformat = "nginx"\ntrusted_proxies = ["203.0.113.7"]')):
        (doors / f"{name}.toml").write_text(_RULES.format(source=source), encoding="utf-8")
    lines = block("apache", "SSLVerifyClient").replace("/etc/keyfob/ca.pem", str(home / "ca.pem"))
    serving = f"SSLEngine on\nSSLCertificateFile {home / 'server.pem'}\nSSLCertificateKeyFile {home / 'server-key.pem'}"
    place = Place(folder, find_port(), home, doors)
    with start_apache((serving + "\n" + lines).replace("{", "{{").replace("}", "}}"))(place):
        client = make_client(
            home / "ca.pem", home / "devices/this-computer.pem", home / "devices/this-computer-key.pem"
        )
        answer = ask_tls(place.port, client, write_request("/tls"))
        assert answer.told.get("common_name") == "this-computer"
        for path, outcome in (("/tls", "certificate-missing"), ("/nginx", "peer-not-trusted")):
            assert ask_tls(place.port, make_client(home / "ca.pem"), write_request(path)).outcome == outcome


_RULES = """
[source]
kind = {source}

[[root_certificates]]
name = "Home"
certificate = "ca.pem"
associated_hostnames = ["localhost"]

[[applications]]
name = "App"
domain = "localhost"
policies = [{{ name = "Any device", decision = "non_identity", include = [{{ certificate = {{}} }}] }}]
"""


def test_every_server_that_is_known_stands_in_the_table() -> None:
    """With what can be said about it; a new row of code is a new line here."""
    rows = re.findall(r"^\| ([^|]+) \| [^|]+ \| (yes|no)\b[^|]* \|$", README, re.MULTILINE)
    said = {name.strip().lower(): word == "yes" for cell, word in rows for name in cell.split(",")}
    # The best that each of them can be.
    settings = SimpleNamespace(header_map="drop", forwarder_headers=[])
    server = SimpleNamespace(cfg=settings, start_response=lambda self: None)
    start_response = MethodType(server.start_response, server)
    for row in SERVERS:
        doubt = row.find_doubt({"CONN_REMOTE_ADDR": "127.0.0.1"}, start_response, lambda name: True)
        assert said[row.name] == (doubt == ""), row.name
