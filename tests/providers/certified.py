"""Real providers of OpenID Connect: the certified one of npm, and PyPI's, each in a process of its own."""

import contextlib
import html
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urljoin

import httpx
import pytest

from servers import environment, find_port

FOLDER = Path(__file__).parent / "node"
CLIENT, SECRET = "keyfob", "a-secret-of-32-characters-or-more"
SECONDS = 60


class Running(NamedTuple):
    """A provider that listens. `kind` is the name of its package."""

    issuer: str
    client_id: str
    client_secret: str
    kind: str


@contextlib.contextmanager
def running_certified(*callbacks: str) -> Iterator[Running]:
    """npm's `oidc-provider`, to which one may come back at these addresses. Skips where it is not installed."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node, of the Debian package nodejs")
    if not (FOLDER / "node_modules" / "oidc-provider").is_dir():
        pytest.skip("needs the npm package oidc-provider: make provider")
    command = [node, "provider.mjs", CLIENT, SECRET, *callbacks]
    with subprocess.Popen(
        command, cwd=FOLDER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            issuer = process.stdout.readline().strip()
            assert issuer.startswith("http://127.0.0.1:"), "the provider did not start"
            yield Running(issuer, CLIENT, SECRET, "oidc-provider")
        finally:
            process.kill()


@contextlib.contextmanager
def running_mock() -> Iterator[Running]:
    """PyPI's `oidc-provider-mock`, which takes any client."""
    port = find_port()
    # Its own libraries warn of each other, which is none of our business.
    command = [sys.executable, "-W", "ignore", "-m", "oidc_provider_mock", "--port", str(port)]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **environment()}
    ) as process:
        try:
            issuer = f"http://localhost:{port}"
            _wait(f"{issuer}/.well-known/openid-configuration")
            yield Running(issuer, CLIENT, SECRET, "oidc-provider-mock")
        finally:
            process.kill()


def _wait(url: str) -> None:
    end = time.monotonic() + SECONDS
    while True:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(url).status_code == 200:
                return
        assert time.monotonic() < end, f"nothing is at {url}"
        time.sleep(0.05)


def log_in_at(address: str, name: str, callback: str) -> str:
    """Does at a provider what a person does in a browser, and returns the address that leads back."""
    with httpx.Client(timeout=SECONDS) as client:
        answer = client.get(address)
        for _ in range(20):
            if answer.is_redirect:
                url = urljoin(str(answer.url), answer.headers["location"])
                if url.startswith(callback):
                    return url
                answer = client.get(url)
            else:
                assert answer.status_code == 200, answer.text
                answer = _send_form(client, answer, name)
    raise AssertionError("it leads nowhere")


# What a form asks a person for: the fields of both providers.
_ASKED = {"login", "password", "sub"}


def _send_form(client: httpx.Client, answer: httpx.Response, name: str) -> httpx.Response:
    [form] = re.findall(r"<form.*?</form>", answer.text, re.DOTALL)[:1]
    action = re.search(r'<form[^>]* action="(.*?)"', form)
    fields = {}
    for tag in re.findall(r"<input[^>]*>", form):
        attributes = dict(re.findall(r'(\w+)="(.*?)"', tag))
        if "name" in attributes:
            asked = attributes["name"] in _ASKED
            fields[attributes["name"]] = name if asked else html.unescape(attributes.get("value", ""))
    url = urljoin(str(answer.url), html.unescape(action[1]) if action else "")
    return client.post(url, data=fields)


def describe(running: Running, callback_id: str = "work", name: str = "Work", scopes: Sequence[str] = ()) -> str:
    """The table of a configuration, with the secret in the file `work.secret`."""
    more = f"scopes = {list(scopes)!r}\n" if scopes else ""
    return (
        f'[[identity_providers]]\nname = "{name}"\nid = "{callback_id}"\ntype = "oidc"\nissuer = "{running.issuer}"\n'
        f'client_id = "{running.client_id}"\nclient_secret_file = "work.secret"\n{more}'
    )
