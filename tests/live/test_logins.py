"""Whole servers where people log in: every worker knows every session and token, and none outlives its withdrawal."""

import contextlib
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from keyfob.inventory import open_inventory
from live.world import Line, Server, World, make_world, start, wait_for
from postgresql import fresh_database
from providers.openid import CLIENT, CODE, SECRET, Issuer, issuing
from servers import environment, keyfob, make_client

# As for inventories: each server once, and each database with a server of either kind.
SETTINGS = SERVE, _, GUNICORN, _ = [
    ("keyfob serve", "sqlite"),
    ("uvicorn", "postgresql"),
    ("gunicorn", "sqlite"),
    ("gunicorn --preload", "postgresql"),
]
ADDRESS = "rhea.group@example.com"
PEOPLE = f'decision = "allow", include = [{{ email = {{ email = "{ADDRESS}" }} }}]'
SERVICES = """
[[applications]]
name = "Services"
domain = "localhost/services/*"
policies = [{ name = "Any", decision = "service_auth", include = [{ any_valid_service_token = {} }] }]
"""
LOGIN = """
[login]
inventory = "{inventory}"

[[identity_providers]]
name = "Work"
type = "oidc"
issuer = "{issuer}"
client_id = "{client}"
client_secret_file = "work.secret"
"""
AS_A_PAGE = {"accept": "text/html", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


@dataclass(frozen=True)
class Setting:
    """A server that runs, its world, the place of its inventory, and where people log in."""

    server: Server
    world: World
    where: str
    issuer: Issuer

    def run(self, *arguments: str) -> str:
        """A command of keyfob's, in a process of its own."""
        command = keyfob(*arguments, "--inventory", self.where)
        ended = subprocess.run(command, env=environment(), check=True, capture_output=True, text=True)
        return ended.stdout

    @contextlib.contextmanager
    def lines(self) -> Iterator[list[Line]]:
        """Connections of somebody without a certificate, one to each worker."""
        opened = self.server.connect(make_client(self.world.folder / "ca.pem"))
        try:
            yield opened
        finally:
            for line in opened:
                line.close()


@pytest.fixture(scope="module", params=SETTINGS, ids=" on ".join)
def setting(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    name, database = request.param
    world = make_world(tmp_path_factory.mktemp("live"))
    issuer = Issuer()
    with contextlib.ExitStack() as stack:
        stack.enter_context(issuing(issuer))
        url = stack.enter_context(fresh_database()) if database == "postgresql" else "inventory.db"
        where = url if database == "postgresql" else str(world.folder / url)
        open_inventory(where, create=True).close()
        world.write("work.secret", SECRET)
        world.allow(PEOPLE)
        rules = (world.folder / "access.toml").read_text(encoding="utf-8")
        login = LOGIN.format(inventory=url, issuer=issuer.url, client=CLIENT)
        world.write("access.toml", rules + SERVICES + login)
        process, server = start(name, world)
        stack.enter_context(process)
        yield Setting(server, world, where, issuer)


@dataclass
class Visitor:
    """A browser that can choose to which worker it speaks."""

    cookies: dict[str, str] = field(default_factory=dict)

    def open(self, line: Line, path: str = "/") -> tuple[int, str]:
        """Status, and where it leads."""
        shown = {"cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())} if self.cookies else {}
        response, _ = line.request(path, AS_A_PAGE | shown)
        for cookie in response.headers.get_all("set-cookie") or []:
            name, value = re.fullmatch(r"([^=]+)=([^;]*);.*", cookie).groups()  # type: ignore[union-attr]
            if value:
                self.cookies[name] = value
            else:
                self.cookies.pop(name, None)
        return response.status, response.headers.get("location", "")

    def is_let_in(self, line: Line) -> bool:
        return self.open(line)[0] == HTTPStatus.OK


def log_in(setting: Setting, first: Line, then: Line) -> Visitor:
    """A login that begins at one worker, and comes back to another."""
    visitor, issuer = Visitor(), setting.issuer
    status, address = visitor.open(first)
    assert (status, address.startswith(f"{issuer.url}/authorize?")) == (303, True)
    asked = {name: value for name, [value] in parse_qs(urlsplit(address).query).items()}
    issuer.nonce, issuer.challenge, issuer.redeemed = asked["nonce"], asked["code_challenge"], 0
    callback = urlsplit(asked["redirect_uri"]).path
    status, address = visitor.open(then, f"{callback}?code={CODE}&state={asked['state']}")
    assert (status, urlsplit(address).path) == (303, "/")
    return visitor


def test_a_session_is_known_to_every_worker_and_ends_in_all(setting: Setting) -> None:
    """Whichever worker its login began at, and ended at; the person can log in again."""
    with setting.lines() as opened:
        visitor = log_in(setting, opened[0], opened[-1])
        assert all(map(visitor.is_let_in, opened))
        assert setting.run("sessions", "end", ADDRESS) == ""
        kept = dict(visitor.cookies)
        for line in opened:
            wait_for(lambda line=line: not Visitor(dict(kept)).is_let_in(line))  # type: ignore[misc]
        again = log_in(setting, opened[-1], opened[0])
        assert all(map(again.is_let_in, opened))
        assert not any(map(Visitor(kept).is_let_in, opened))


def test_a_token_is_known_to_every_worker_until_it_is_revoked(setting: Setting) -> None:
    """Made, changed and withdrawn by commands, while the server runs."""

    def is_let_in(secret: dict[str, str], line: Line) -> bool:
        # One of the apps knows no such path.
        return line.request("/services/x", secret)[0].status in {HTTPStatus.OK, HTTPStatus.NOT_FOUND}

    def is_refused(secret: dict[str, str], line: Line) -> bool:
        return line.request("/services/x", secret)[0].status == HTTPStatus.UNAUTHORIZED

    def read(said: str) -> dict[str, str]:
        return dict(re.findall(r"^(Keyfob-Client-\w+): (\S+)$", said, re.MULTILINE))

    with setting.lines() as opened:
        first = read(setting.run("token", "create", "backup", "--days", "1"))
        for line in opened:
            wait_for(partial(is_let_in, first, line))
        second = read(setting.run("token", "rotate", "backup", "--grace", "0"))
        for line in opened:
            wait_for(partial(is_refused, first, line))
            wait_for(partial(is_let_in, second, line))
        setting.run("token", "revoke", "backup")
        for line in opened:
            wait_for(partial(is_refused, second, line))
        assert all(is_refused(first, line) for line in opened)


@pytest.mark.parametrize("setting", [SERVE, GUNICORN], ids=" on ".join, indirect=True)
def test_health_tells_when_nobody_knows_who_was_logged_out(setting: Setting) -> None:
    """In every worker; sessions go on for the half minute that a moment's trouble may take."""
    place = Path(setting.where)
    aside = place.with_name("aside.db")
    with setting.lines() as opened:
        visitor = log_in(setting, opened[0], opened[-1])
        place.rename(aside)
        for line in opened:
            wait_for(partial(line.answers, 503, "/health"))
        assert all("is gone" in line.ask("/health")[1] for line in opened)
        assert all(map(visitor.is_let_in, opened))
        aside.rename(place)
        for line in opened:
            wait_for(partial(line.answers, 200, "/health"))
