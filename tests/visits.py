"""Visits to the enrolment pages without a server: a browser of some kind, one request at a time."""

import re
from dataclasses import dataclass, replace
from html import unescape
from typing import Any

import anyio
import httpx
from starlette.types import ASGIApp

HOST = "keys.example.com:8444"
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.1 Mobile/15E148 Safari/604.1"
)
IPHONE_CHROME = IPHONE.replace("Version/18.1", "CriOS/131.0.6778.73")
IPAD = IPHONE.replace("iPhone; CPU iPhone OS", "iPad; CPU OS")
MAC = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1"
)
ANDROID = (
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Mobile Safari/537.36"
)
WINDOWS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36 "
    "Edg/131.0.0.0"
)
LINUX = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"


@dataclass(frozen=True)
class Browser:
    """Asks `app` over https, as `agent` and from `address`. It follows no redirects and runs no lifespan."""

    app: ASGIApp
    agent: str = IPHONE
    address: str = "192.0.2.7"

    def as_(self, agent: str) -> "Browser":
        return replace(self, agent=agent)

    def at(self, address: str) -> "Browser":
        return replace(self, address=address)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, button: str | None = None, **options: Any) -> httpx.Response:
        """With the name of the button that was pressed, or of none, as by a program."""
        return self.request("POST", path, **(options if button is None else {"data": {"as": button}} | options))

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, client=(self.address, 50000))
            async with httpx.AsyncClient(transport=transport, base_url=f"https://{HOST}") as connection:
                headers = {"user-agent": self.agent} | dict(options.pop("headers", {}))
                return await connection.request(method, path, headers=headers, **options)

        return anyio.run(send)


def read_words(answer: httpx.Response) -> str:
    """What a page says, without its tags and its style."""
    page = re.sub(r"<style>.*?</style>", "", answer.text, flags=re.DOTALL)
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page))).strip()


def read_title(answer: httpx.Response) -> str:
    """The heading of a page."""
    [title] = re.findall(r"<h1>(.*?)</h1>", answer.text, re.DOTALL)
    return unescape(re.sub(r"<[^>]*>", "", title))
