"""The pages of `deploy/`: each folder has one, what it says to type works, and no file lies there that nobody runs."""

import importlib
import re
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import pytest

from deploy.identities import World
from deploy.setting import HOST, Start
from deploy.standing import WITHOUT_VERDICT, Front, standing
from keyfob import load_gate
from keyfob.pki.home import open_home
from servers import ROOT, find_program

DEPLOY = ROOT / "deploy"
TESTS = Path(__file__).parent

# Every file that is no page, and the module that runs that very file.
RUN_BY: Mapping[str, str] = {
    "apache/money.example.com.conf": "fronts/apache.py",
    "caddy/Caddyfile": "fronts/caddy.py",
    "container/Containerfile": "test_container.py",
    "container/access.toml": "test_container.py",
    "envoy/envoy.yaml": "fronts/envoy.py",
    "haproxy/haproxy.cfg": "fronts/haproxy.py",
    "haproxy/hosts.list": "fronts/haproxy.py",
    "kubernetes/envoy-gateway/money.yaml": "test_envoy_gateway.py",
    "kubernetes/ingress-nginx/money.yaml": "test_ingress_nginx.py",
    "nginx/money.example.com.conf": "fronts/nginx.py",
    "systemd/access.toml": "test_systemd.py",
    "systemd/money-direct.service": "test_systemd.py",
    "systemd/money.service": "test_systemd.py",
    "systemd/money.sysusers.conf": "test_systemd.py",
    "traefik/keyfob.yml": "fronts/traefik.py",
    "traefik/traefik.yml": "fronts/traefik.py",
}

# What a reader has, or makes on the way, and what lies in /etc/keyfob wherever a page or a file speaks of that folder.
READERS_OWN = {"ca.pem", "device.pem", "device-key.pem", "server.pem", "server-key.pem"}
IN_ETC_KEYFOB = {
    "ca.pem",
    "server.pem",
    "server-key.pem",
    "haproxy.pem",
    "access.toml",
    "proxy-secret",
    "rules",
    "clients",
}
# A word of a command that names a file: what has one of these endings, or is known without any.
FILE = re.compile(r"(?:[\w./-]+/)?(?:[\w.-]+\.(?:pem|toml|ya?ml|cfg|list|conf|service)|Caddyfile|Containerfile)")

PAGES = sorted(path for path in DEPLOY.rglob("README.md") if path.parent != DEPLOY)
FRONTS = ("apache", "caddy", "envoy", "haproxy", "nginx", "traefik")


def name_of(page: Path) -> str:
    return str(page.parent.relative_to(DEPLOY))


# What deploy/README.md calls each front where it lies to it. The first two have the lie that stands there in full.
LIED_TO = {
    "nginx": None,
    "apache": None,
    "haproxy": "HAProxy",
    "caddy": "Caddy",
    "traefik": "Traefik",
    "envoy": "Envoy, Envoy Gateway",
}

every_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def commands(page: Path) -> list[list[str]]:
    """What the page says to type, each line split into words; `&&` and the like are words, too."""
    lines = "".join(blocks(page, "sh")).replace("\\\n", " ").splitlines()
    return [words for words in (shlex.split(line, comments=True) for line in lines) if words]


def curls(page: Path) -> list[list[str]]:
    return [words for words in commands(page) if words[0] == "curl"]


def test_every_folder_has_a_page() -> None:
    """Whatever holds a configuration says how to use it."""
    folders = {path.parent for path in DEPLOY.rglob("*") if path.is_file()} - {DEPLOY}
    assert {page.parent for page in PAGES} == folders


def test_every_file_is_run_by_a_test() -> None:
    """The table is the listing, and the module that it names reads the file by its name."""
    files = {str(path.relative_to(DEPLOY)) for path in DEPLOY.rglob("*") if path.is_file() and path.name != "README.md"}
    assert set(RUN_BY) == files
    for file, module in RUN_BY.items():
        text = (TESTS / module).read_text(encoding="utf-8")
        assert file in text or (file.rpartition("/")[2] in text and "adapt(" in text), file


@every_page
def test_a_page_has_two_commands_to_check_with(page: Path) -> None:
    """One with a certificate, and one without, at the same address."""
    found = curls(page)
    assert len(found) == 2
    assert [words[-1] for words in found] == [f"https://{HOST}/"] * 2
    assert ["--cert" in words for words in found] == [True, False]
    assert "certificate-missing" in page.read_text(encoding="utf-8")


@every_page
def test_a_page_names_files_that_exist(page: Path) -> None:
    """In its own folder, from the root of the checkout, or the reader's own."""
    words = [word.partition("=")[2] or word for line in commands(page) for word in line]
    named = {word for word in words if FILE.fullmatch(word) and not word.startswith("/")} - READERS_OWN
    assert {name for name in named if not (page.parent / name).is_file() and not (ROOT / name).is_file()} == set()


def test_the_files_of_etc_keyfob_have_one_name_each() -> None:
    """On every page and in every file."""
    texts = [path.read_text(encoding="utf-8") for path in DEPLOY.rglob("*") if path.is_file()]
    named = {name for text in texts for name in re.findall(r"/etc/keyfob/([\w-]+(?:\.\w+)?)", text)}
    assert named <= IN_ETC_KEYFOB


@every_page
def test_a_pages_links_lead_somewhere(page: Path) -> None:
    """To a file or a folder that is there, and in it to a heading."""
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        target, _, anchor = link.partition("#")
        assert "://" in target or (page.parent / target).exists(), target
        assert not anchor or anchor in anchors(page.parent / target), link


def anchors(page: Path) -> set[str]:
    """What GitHub calls the headings of a page."""
    headings = re.findall(r"^#+ (.+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_the_first_pages_own_links_lead_somewhere() -> None:
    """Those that stand at its end; the others are the pages."""
    links = re.findall(r"^\[[^]]+\]: ([^#\s]+)#(\S+)", (DEPLOY / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert links
    for target, anchor in links:
        assert anchor in anchors(DEPLOY / target)


@every_page
def test_a_page_that_needs_files_says_where_they_come_from(page: Path) -> None:
    """By a link to the recipe."""
    text = page.read_text(encoding="utf-8")
    assert "server.pem" not in text or "README.md#the-files)" in text


@every_page
def test_a_shown_source_is_a_source(page: Path, world: World, tmp_path: Path) -> None:
    """With the rest of a configuration behind it, keyfob takes it."""
    for block in blocks(page, "toml"):
        rest = (DEPLOY / "systemd" / "access.toml").read_text(encoding="utf-8").partition("[[root")
        (tmp_path / "access.toml").write_text(block + "\n" + "".join(rest[1:]), encoding="utf-8")
        (tmp_path / "ca.pem").write_bytes(world.ca.read_bytes())
        load_gate(tmp_path / "access.toml")


def test_the_list_of_fronts_is_complete_and_right() -> None:
    """Every folder is linked, and each front's row has the format that its test runs with."""
    text = (DEPLOY / "README.md").read_text(encoding="utf-8")
    linked = {target.rstrip("/") for target in re.findall(r"\]\(([\w/-]+)\)", text)}
    assert linked == {name_of(page) for page in PAGES}
    rows = re.findall(r"^\| [^|]+ \| `([a-z-]+)` \| (`true`)? ?\| \[[^]]+\]\(([\w/-]+?)/?\) \|", text, re.MULTILINE)
    found = {folder: (form, bool(declared)) for form, declared, folder in rows}
    for name in FRONTS:
        form = importlib.import_module(f"deploy.fronts.{name}").FORMAT
        assert found[name] == (form, form in WITHOUT_VERDICT), name


@pytest.mark.parametrize("name", FRONTS)
def test_the_two_commands_come_to_what_the_page_says(name: str, world: World, tmp_path: Path) -> None:
    """Letter for letter, but for where the files are, and with the option for a name that does not lead there yet."""
    module = importlib.import_module(f"deploy.fronts.{name}")
    with standing(name, module.FORMAT, cast("Start", module.start), world, tmp_path) as front:
        with_certificate, without = (run(words, front) for words in curls(DEPLOY / name / "README.md"))
    assert str(world.identities["valid"].fingerprint) in with_certificate
    assert "urn:keyfob:certificate-missing" in without


def run(words: list[str], front: Front) -> str:
    """What a `curl` of a page answers."""
    certificate, key = front.world.identities["valid"].files
    ours = {"/etc/keyfob/ca.pem": front.world.ca, "device.pem": certificate, "device-key.pem": key}
    command = [find_program("curl", "curl"), "--silent", "--max-time", "30", "--interface", "127.0.0.5"]
    command += ["--connect-to", f"{HOST}:443:127.0.0.1:{front.port}"]
    command += [str(ours.get(word, word)) for word in words[1:]]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_the_recipe_makes_a_certificate_for_the_server(tmp_path: Path) -> None:
    """Letter for letter, with the CA that `make run` makes: who trusts that CA takes it for this host."""
    open_home(tmp_path / ".keyfob", ["localhost"])
    [recipe] = [block for block in blocks(DEPLOY / "README.md", "sh") if "openssl req" in block]
    subprocess.run(["/bin/sh", "-ec", recipe], cwd=tmp_path, capture_output=True, check=True)
    check = ["openssl", "verify", "-purpose", "sslserver", "-verify_hostname", HOST, "-CAfile", ".keyfob/ca.pem"]
    subprocess.run([*check, "server.pem"], cwd=tmp_path, capture_output=True, check=True)


@pytest.mark.parametrize("name", FRONTS)
def test_the_lie_fails_at_the_front_and_works_without_it(name: str, world: World, tmp_path: Path) -> None:
    """Said to the app itself, from a trusted address, the same words open: so it is the front that stops them."""
    module = importlib.import_module(f"deploy.fronts.{name}")
    with standing(name, module.FORMAT, cast("Start", module.start), world, tmp_path) as front:
        through = lie(name, front, tmp_path, f"--interface 127.0.0.5 --connect-to {HOST}:443:127.0.0.1:{front.port}")
        direct = f"--connect-to {HOST}:80:127.0.0.1:{front.app_port} -H 'X-Forwarded-For: 192.0.2.1'"
        past = lie(name, front, tmp_path, direct, "http")
    assert "urn:keyfob:certificate-missing" in through
    assert str(world.identities["valid"].fingerprint) in past


def lie(name: str, front: Front, folder: Path, options: str, scheme: str = "https") -> str:
    """What the lie of deploy/README.md is answered with."""
    certificate, _ = front.world.identities["valid"].files
    (folder / "device.pem").write_bytes(certificate.read_bytes())
    text = (DEPLOY / "README.md").read_text(encoding="utf-8")
    [script] = [block for block in blocks(DEPLOY / "README.md", "sh") if "curl" in block]
    if (row := LIED_TO[name]) is not None:
        [headers] = re.findall(rf"^\| {row} \| `(.+)` \|$", text, re.MULTILINE)
        shown = '-H "X-SSL-Client-Verify: SUCCESS" -H "X-SSL-Client-Cert: $pem"'
        assert shown in script
        script = script.replace(shown, headers)
    curl = f"{find_program('curl', 'curl')} --silent --max-time 30 {options} "
    script = script.replace("curl ", curl).replace("/etc/keyfob/ca.pem", str(front.world.ca))
    script = script.replace(f"https://{HOST}/", f"{scheme}://{HOST}/")
    command = ["/bin/sh", "-ec", script]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
