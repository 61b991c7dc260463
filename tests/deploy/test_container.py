"""deploy/container: the Containerfile's own steps, taken in a folder in place of an image, and what comes of them.

No container runs here: the base image, its user and its read-only root are not part of what is shown.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.fronts.nginx import find_wheel, read_file, run_nginx
from deploy.identities import World
from deploy.setting import HOST, Setting, adapt
from servers import ROOT, find_port, find_program, running

SECRET = "0123456789abcdef" * 4
# Folders of the image that its steps or its command name. Each is a folder below the one that stands in for the image.
FOLDERS = ("/opt/money", "/src", "/data", "/etc/keyfob")


@dataclass(frozen=True)
class Step:
    """One instruction, and the stage that it belongs to."""

    stage: int
    word: str
    rest: str


def read_steps() -> list[Step]:
    """The instructions of the Containerfile, without comments and with their lines joined."""
    text = re.sub(r"^#.*\n", "", adapt("container/Containerfile", {}), flags=re.MULTILINE)
    stage, steps = 0, []
    for line in filter(None, map(str.strip, text.replace("\\\n", " ").splitlines())):
        word, _, rest = line.partition(" ")
        stage += word == "FROM"
        steps.append(Step(stage, word, rest.strip()))
    return steps


def rests(word: str) -> list[str]:
    return [step.rest for step in read_steps() if step.word == word]


class Image:
    """A folder in which the steps are taken, one after the other. Both stages share it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment: dict[str, str] = {}
        self.place = folder

    def move(self, text: str) -> str:
        """`text` with the image's folders where they are here."""
        return re.sub(rf"(?<![\w./-])({'|'.join(FOLDERS)})(?=[/\s]|$)", rf"{self.folder}\1", text)

    def take(self, step: Step) -> None:
        take = getattr(self, f"_take_{step.word.lower()}", None)
        if take is not None:
            take(step.rest)

    def _take_workdir(self, rest: str) -> None:
        self.place = Path(self.move(rest))
        self.place.mkdir(parents=True, exist_ok=True)

    def _take_run(self, rest: str) -> None:
        command = re.sub(r"^python ", f"{shlex.quote(sys.executable)} ", self.move(rest))
        subprocess.run(["/bin/sh", "-ec", command], cwd=self.place, capture_output=True, check=True)

    def _take_copy(self, rest: str) -> None:
        *sources, target = rest.split()
        if sources[0].startswith("--from="):
            assert sources[1:] == [target], "the stages share one folder, so a copy must not move anything"
            return
        for source in sources:
            to = self.place / target / (source if target == "./" else "")
            to.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, to, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / source, to)

    def _take_env(self, rest: str) -> None:
        self.environment |= dict(each.split("=", 1) for each in shlex.split(self.move(rest)))

    def command(self) -> list[str]:
        return [self.move(word) for word in json.loads(rests("CMD")[-1])]

    def files(self) -> dict[str, int]:
        """Everything that should stay as it is while the app runs, and when it was written. The log is the test's."""
        files = (path for path in self.folder.rglob("*") if not path.is_relative_to(self.folder / "data"))
        return {str(path): path.lstat().st_mtime_ns for path in files if path.is_file() and path.suffix != ".log"}


@pytest.fixture(scope="module")
def image(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    """All steps taken, and the three files in the place where the page has them mounted."""
    if os.geteuid() != 0:
        pytest.skip("needs root, as the steps of an image do")
    image = Image(tmp_path_factory.mktemp("image"))
    for step in read_steps():
        image.take(step)
    mounted = Path(image.move("/etc/keyfob"))
    mounted.mkdir(parents=True)
    (mounted / "access.toml").write_text(adapt("container/access.toml", {}), encoding="utf-8")
    (mounted / "proxy-secret").write_text(f"{SECRET}\n", encoding="ascii")
    shutil.copy(world.ca, mounted / "ca.pem")
    yield image


def with_secret(site: str) -> str:
    """nginx's file with the line that the page asks for."""
    [line] = re.findall(r"```nginx\n(.*\n)```", adapt("container/README.md", {}))
    before = "        proxy_set_header X-SSL-Client-Cert "
    assert before in site
    return site.replace(before, line.replace("the line in /etc/money/proxy-secret", SECRET) + before)


def curl(*arguments: str | Path) -> str:
    command = [find_program("curl", "curl"), "--silent", "--max-time", "30", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_the_image_serves_behind_a_proxy_that_knows_the_secret(image: Image, world: World, tmp_path: Path) -> None:
    """A device enters an expense; nobody gets in without a certificate, or past the proxy; nothing else is written."""
    port, app_port = find_port(), find_port()
    command = [str(app_port) if word == "8000" else word for word in image.command()]
    env = {**image.environment, "PATH": os.environ["PATH"]}
    before = image.files()
    setting = Setting(tmp_path, port, app_port, world.server, world.server_key, world.ca)
    site = with_secret(read_file(setting))
    with running(command, app_port, image.place, env), run_nginx(find_wheel(), setting, site):
        there: list[str | Path] = ["--cacert", world.ca, "--connect-to", f"::127.0.0.1:{port}", f"https://{HOST}/"]
        certificate, key = world.identities["valid"].files
        device: list[str | Path] = ["--cert", certificate, "--key", key]
        expense = ["--location", "--data", "id=first", "--data", "amount=4.50", "--data", "category=Coffee"]
        assert "Coffee" in curl(*device, *expense, *there)
        assert "certificate-missing" in curl(*there)
        past_the_proxy = ["--header", f"Host: {HOST}", "--header", "X-SSL-Client-Verify: SUCCESS"]
        assert "peer-not-trusted" in curl(*past_the_proxy, f"http://127.0.0.1:{app_port}/")
    assert (image.folder / "data" / "budget.xlsx").is_file()
    assert image.files() == before


def test_nobody_in_the_image_is_root() -> None:
    """The last word about the user is a number, so that a read-only system needs no list of names to check it."""
    last = [step.rest for step in read_steps() if step.word == "USER"][-1]
    assert re.fullmatch(r"[1-9]\d{4,}:[1-9]\d{4,}", last)
    assert read_steps()[-1].word == "CMD"


def test_the_image_holds_no_secret() -> None:
    """What is copied is named piece by piece, and none of it is a key, a certificate or anybody's rules."""
    copied = [source for rest in rests("COPY") for source in rest.split()[:-1] if not source.startswith("--")]
    assert copied
    assert not [source for source in copied if source in (".", "./", "..") or "*" in source]
    files = [path for source in copied for path in (ROOT / source).rglob("*") if not source.startswith("/")]
    assert not [path for path in files if path.suffix in {".pem", ".key", ".p12", ".toml", ".crl"} and path.is_file()]
    assert rests("ADD") == []
    assert rests("ARG") == []


def test_every_package_is_pinned_by_its_hash() -> None:
    """One step installs the list with its hashes, one the checkout alone, and nothing else reaches for the network."""
    installs = [rest for rest in rests("RUN") if "pip install" in rest]
    assert len(installs) == 2
    assert "--require-hashes --requirement requirements/run.txt" in installs[0]
    assert {"--no-index", "--no-deps", "--no-build-isolation"} <= set(installs[1].split())
    assert not [rest for rest in rests("RUN") if re.search(r"\b(apt|apt-get|apk|curl|wget|git)\b", rest)]
    assert len({rest.removesuffix(" AS build") for rest in rests("FROM")}) == 1
