"""Logins without a network: providers that say whom they are told to, a state database in memory, and a browser.

The browser speaks to either skin, so that what it meets is tested on both.
"""

import io
import json
import re
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from html import unescape
from time import time
from typing import Any, NamedTuple
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit
from wsgiref.types import StartResponse, WSGIEnvironment

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from starlette.types import Receive, Scope, Send

from certificates import Pair, make_authority, make_leaf
from exchanges import ask, make_scope
from keyfob import AccessMiddleware
from keyfob.addresses import Address
from keyfob.errors import LoginError
from keyfob.gate import Gate, Site
from keyfob.login.book import ADDRESS, EVERYBODY, PERSON, SESSION, Book, Ending, SessionKey, TokenRecord
from keyfob.login.carrying import Carrier
from keyfob.login.cookies import name_session
from keyfob.login.desk import SESSION as SESSION_LENGTH
from keyfob.login.desk import Desk
from keyfob.login.exchanges import Steps
from keyfob.login.journeys import Journey
from keyfob.login.providers import Provider
from keyfob.login.sessions import Session
from keyfob.policy import Application, Fact, Identity, Names, Policy, PolicyDecision, Rules, Test, User, compile_rule
from keyfob.policy.paths import EVERY_PATH, Paths, PathTable
from keyfob.request import DOOR, HEADERS, IDENTITY, Request
from keyfob.sources import Source
from keyfob.sources.tls import TLSSource
from keyfob.trust import Roots, Verifier
from keyfob.wsgi import AccessMiddleware as WSGIMiddleware

HOST, OTHER_HOST = "money.example.com", "books.example.com"
ROOT = make_authority("Devices")
PHONE, LAPTOP = make_leaf(ROOT, "Rhea Group"), make_leaf(ROOT, "Second device")
ME = User("me@example.com", "stub", subject="7", name="Me")
FOREVER = 4e9


# --- What is kept -----------------------------------------------------------------------------------------------------


def make_key(kid: str = "key-1", begins_at: float = 0.0, retires_at: float = FOREVER) -> SessionKey:
    """A key of sessions."""
    private = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return SessionKey(kid, private, kid.encode("ascii").ljust(32, b"\0"), begins_at, retires_at)


KEY = make_key()


def make_book(*keys: SessionKey, tokens: Iterable[TokenRecord] = ()) -> Book:
    """A book with these keys, KEY if none is given, that is good for ever: its clock stands still."""
    book = Book("a database in memory", lambda: 0.0)
    book.enter(keys=keys or (KEY,), tokens=tokens)
    book.confirm(1, ("memory", None), 0.0)
    return book


class Memory:
    """A state database in memory, which a book follows at once."""

    def __init__(self, book: Book) -> None:
        self.book = book
        self.claimed: set[bytes] = set()
        self.trouble: LoginError | None = None

    def claim(self, mark: bytes, until: float, at: float) -> bool:
        self._check()
        is_first = mark not in self.claimed
        self.claimed.add(mark)
        return is_first

    def end_session(self, session: str, at: float, until: float) -> None:
        self._end(SESSION, session, at, until)

    def end_person(self, person: str, at: float, until: float) -> None:
        self._end(PERSON, person, at, until)

    def end_address(self, address: str, at: float) -> None:
        self._end(ADDRESS, address, at, FOREVER)

    def end_everybody(self, at: float) -> None:
        self._end(EVERYBODY, "", at, FOREVER)

    def keep_code(self, mark: bytes, address: bytes, digest: bytes, at: float, until: float) -> bool:
        raise NotImplementedError

    def try_code(self, mark: bytes, digest: bytes, at: float) -> bool:
        raise NotImplementedError

    def _end(self, kind: str, who: str, at: float, until: float) -> None:
        self._check()
        self.book.enter(endings=[Ending(kind, who, at, until)])

    def _check(self) -> None:
        if self.trouble is not None:
            raise self.trouble


class Stub:
    """A provider that says whom it is told to, or why it says nothing."""

    kind = "oidc"

    def __init__(self, id: str = "stub", name: str = "", user: User = ME) -> None:  # noqa: A002 - as in Provider
        self.id, self.name, self.user = id, name or id.title(), user
        self.trouble: LoginError | None = None
        self.finished = 0
        self.named: frozenset[Fact] = frozenset()

    def begin(self, journey: Journey, state: str, named: frozenset[Fact], *, afresh: bool) -> Steps[str]:
        yield from ()
        if self.trouble is not None:
            raise self.trouble
        return f"https://{self.id}.example/authorize?{urlencode({'state': state} | ({'again': 1} if afresh else {}))}"

    def finish(self, journey: Journey, said: Mapping[str, str], named: frozenset[Fact], at: float) -> Steps[User]:
        yield from ()
        self.finished += 1
        self.named = named
        if self.trouble is not None:
            raise self.trouble
        return self.user._replace(provider=self.id) if self.user.provider == ME.provider else self.user


# --- What is asked for ------------------------------------------------------------------------------------------------

PROVIDERS = {"stub": "stub", "other": "other"}


def make_policy(
    decision: str,
    *include: Mapping[str, Any],
    require: Sequence[Mapping[str, Any]] = (),
    exclude: Sequence[Mapping[str, Any]] = (),
    name: str = "",
    session: float | None = None,
    names: Names | None = None,
) -> Policy:
    """A policy as it would be written, named like its decision."""
    known = names or Names(providers=PROVIDERS, service_tokens=True)
    rules = (tuple(compile_rule(rule, known) for rule in rules) for rules in (include, require, exclude))
    return Policy(name or decision, PolicyDecision(decision), Rules(*rules), session)


EVERYONE: Mapping[str, Any] = {"everyone": {}}
CERTIFICATE: Mapping[str, Any] = {"certificate": {}}
PHONE_ONLY = {"common_name": {"common_name": "Rhea Group"}}
MINE = {"email": {"email": ME.email}}
ANYBODY = make_policy("allow", EVERYONE)


def tag(name: str) -> str:
    """A tag such as the configuration gives: sixteen characters."""
    return urlsafe_b64encode(name.encode("utf-8").ljust(12, b"-")[:12]).decode("ascii")


def make_application(*policies: Policy, name: str = "Budget", **more: Any) -> Application:
    """An application; for anybody who has logged in, if no policy is given."""
    return Application(name, policies or (ANYBODY,), **({"tag": tag(name)} | more))


class House(NamedTuple):
    """A gate with a desk, and all that the desk is made of."""

    gate: Gate
    desk: Desk
    book: Book
    store: Memory
    sites: Mapping[str, Site]

    @property
    def cookie(self) -> str:
        """The name of the session's cookie at the first application."""
        return name_session(next(iter(self.desk.applications)))


class _Somewhere(TLSSource):
    """A source that finds the client at the address that a test has put into the scope."""

    def find_client(self, request: Request) -> Address | None:
        found: Address | None = request.scope.get("address")
        return found


def build(
    *applications: Application | tuple[str, str, Application],
    providers: Sequence[Provider] | None = None,
    book: Book | None = None,
    source: Source | None = None,
    find_facts: Any = tuple,
    session: float = SESSION_LENGTH,
) -> House:
    """A gate for applications, each of HOST whole or given with its host and path; for anybody if none is given."""
    rows = [
        each if isinstance(each, tuple) else (HOST, EVERY_PATH, each) for each in applications or [make_application()]
    ]
    kept = book or make_book()
    store = Memory(kept)
    desk = Desk(
        kept,
        [Stub()] if providers is None else providers,
        [each for _, _, each in rows],
        session,
        find_facts,
        carrier=Carrier(store),
    )
    roots = Roots((ROOT.certificate,), ())
    sites = {
        host: Site(
            Paths([PathTable([(path, each) for where, path, each in rows if where == host])]),
            Verifier(roots),
            desk=desk,
        )
        for host, _, _ in rows
    }
    return House(Gate(source or _Somewhere(), sites, roots, desk=desk), desk, kept, store, sites)


def write_session(house: House, user: User = ME, **changes: Any) -> str:
    """The Cookie field of a session of the first application that has just begun."""
    audience, now = next(iter(house.desk.applications)), time()
    session = Session("session-1", audience, now, now + 3600, user)._replace(**changes)
    return f"{name_session(audience)}={house.desk.sessions.seal(session, [], now)}"


def make_facts(*rules: Mapping[str, Any]) -> list[tuple[Fact, Test]]:
    """What rules of handlers name about people."""
    known = Names(providers=PROVIDERS)
    return [pair for rule in rules for pair in compile_rule(rule, known).facts]


# --- The skins --------------------------------------------------------------------------------------------------------


class Seen(NamedTuple):
    """What reached an app: who it is, every header that it can find, and everything that it was handed."""

    identity: Identity
    headers: list[tuple[bytes, bytes]]
    whole: Mapping[str, Any]

    @property
    def cookies(self) -> list[bytes]:
        return [value for name, value in self.headers if name == b"cookie"]

    @property
    def everything(self) -> str:
        """All that it was handed as text, so that a secret can be looked for anywhere in it."""
        return repr({key: each for key, each in self.whole.items() if key != DOOR})


@dataclass
class Reply:
    """One answer, and what the app saw if it was called."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    seen: list[Seen]

    def __getitem__(self, name: str) -> str:
        """The one header of a name; empty if there is none."""
        found = [value for each, value in self.headers if each == name]
        assert len(found) <= 1, found
        return found[0] if found else ""

    @property
    def cookies(self) -> list[str]:
        return [value for name, value in self.headers if name == "set-cookie"]

    @property
    def location(self) -> str:
        return self["location"]

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def reason(self) -> str:
        """The reason of a refusal, where a program asked."""
        return str(self.json["type"]).removeprefix("urn:keyfob:")


Headers = Sequence[tuple[str, str]]


class ASGI:
    """The ASGI skin around an app that answers 200."""

    def __init__(self, gate: Gate, **options: Any) -> None:
        self.seen: list[Seen] = []
        self.door = AccessMiddleware(self._answer, gate=gate, **options)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [*scope["headers"], *scope.get(HEADERS, ())]
        self.seen.append(Seen(scope[IDENTITY], headers, scope))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello"})

    def send(
        self, method: str, target: str, headers: Headers, body: bytes, leaf: Pair | None, *, base: str = "", **more: Any
    ) -> Reply:
        path, _, query = target.partition("?")
        scope = make_scope(
            [leaf.pem] if leaf else [],
            host=None,
            headers=[(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers],
            method=method,
            path=unquote(path),
            raw_path=path.encode("latin-1"),
            query_string=query.encode("latin-1"),
            root_path=unquote(base),
            **more,
        )
        before = len(self.seen)
        answer = ask(self.door, scope, events=[{"type": "http.request", "body": body}])
        said = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in answer.messages[0]["headers"]]
        return Reply(answer.status, said, answer.body, self.seen[before:])


class WSGI:
    """The WSGI skin around an app that answers 200, behind something like Apache."""

    def __init__(self, gate: Gate, **options: Any) -> None:
        self.seen: list[Seen] = []
        self.door = WSGIMiddleware(self._answer, gate=gate, **options)

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        headers = [
            (key[5:].replace("_", "-").lower().encode("latin-1"), value.encode("latin-1"))
            for key, value in environ.items()
            if key.startswith("HTTP_")
        ]
        self.seen.append(Seen(environ[IDENTITY], headers, environ))
        start_response("200 OK", [])
        return [b"hello"]

    def send(
        self, method: str, target: str, headers: Headers, body: bytes, leaf: Pair | None, *, base: str = "", **more: Any
    ) -> Reply:
        path, _, query = target.partition("?")
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": _as_wsgi(unquote(base)),
            "PATH_INFO": _as_wsgi(unquote(path).removeprefix(unquote(base))),
            "REQUEST_URI": target,
            "QUERY_STRING": query,
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "8443",
            "REMOTE_ADDR": "127.0.0.1",
            "REMOTE_PORT": "50000",
            "CONTENT_LENGTH": str(len(body)) if body else "",
            "wsgi.url_scheme": "https",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": io.StringIO(),
            "mod_wsgi.version": (4, 9, 4),
            "SSL_CLIENT_VERIFY": "SUCCESS" if leaf else "NONE",
            "SSL_CLIENT_CERT": leaf.pem if leaf else "",
        } | more
        for name, value in headers:
            key = f"HTTP_{name.upper().replace('-', '_')}"
            # As servers do: Cookie fields with a semicolon, and all others with a comma.
            sign = "; " if key == "HTTP_COOKIE" else ","
            environ[key] = f"{environ[key]}{sign}{value}" if key in environ else value
        reply = Reply(0, [], b"", [])

        def start_response(status: str, said: list[tuple[str, str]], _: object = None) -> Any:
            reply.status, reply.headers = int(status.split(maxsplit=1)[0]), [*said]
            return lambda data: None

        before = len(self.seen)
        reply.body = b"".join(self.door(environ, start_response))
        reply.seen = self.seen[before:]
        return reply


def _as_wsgi(text: str) -> str:
    return text.encode("utf-8").decode("latin-1")


Skin = ASGI | WSGI
SKINS: list[type[ASGI] | type[WSGI]] = [ASGI, WSGI]


# --- A browser --------------------------------------------------------------------------------------------------------

NAVIGATION = [
    ("accept", "text/html,application/xhtml+xml,*/*;q=0.8"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-dest", "document"),
]


@dataclass
class Browser:
    """Asks a skin for pages of one host, keeps its cookies, and shows the certificate `leaf` if it has one."""

    skin: Skin
    leaf: Pair | None = None
    host: str = HOST
    base: str = ""
    jar: dict[str, str] = field(default_factory=dict)

    def send(
        self, method: str, target: str, headers: Headers = (), body: bytes = b"", *, navigates: bool = True, **more: Any
    ) -> Reply:
        cookies = [("cookie", "; ".join(f"{name}={value}" for name, value in self.jar.items()))] if self.jar else []
        mine = [("host", self.host), *(NAVIGATION if navigates else []), *cookies, *headers]
        reply = self.skin.send(method, target, mine, body, self.leaf, base=self.base, **more)
        for each in reply.cookies:
            name, _, value = each.partition(";")[0].partition("=")
            self.jar[name] = value
            if "Max-Age=0" in each:
                del self.jar[name]
        return reply

    def get(self, target: str = "/", headers: Headers = (), **more: Any) -> Reply:
        return self.send("GET", target, headers, **more)

    def post(self, target: str, form: Mapping[str, str] | None = None, headers: Headers = (), **more: Any) -> Reply:
        return self.send("POST", target, headers, urlencode(form or {}).encode("ascii"), **more)

    def fetch(self, target: str = "/", headers: Headers = (), **more: Any) -> Reply:
        """As a script does it, and everything that is no browser."""
        return self.send("GET", target, headers, navigates=False, **more)

    def begin(self, target: str = "/") -> str:
        """Asks for a page, is sent to a provider, and returns the state that it would have to bring back."""
        return find_state(self.get(target))

    def come_back(self, state: str, provider: str = "stub", **said: str) -> Reply:
        query = urlencode({"state": state, "code": "abc"} | said)
        return self.get(f"{self.base}/.keyfob/callback/{provider}?{query}")

    def log_in(self, target: str = "/") -> Reply:
        """The whole login, up to the page that was asked for."""
        reply = self.come_back(self.begin(target))
        assert reply.status == 303, (reply.status, reply.body)
        return self.follow(reply)

    def follow(self, reply: Reply) -> Reply:
        """Goes where a redirect leads, which is this host."""
        parts = urlsplit(reply.location)
        assert (parts.scheme, parts.netloc) == ("https", self.host), reply.location
        return self.get(f"{parts.path}?{parts.query}" if parts.query else parts.path)


def find_state(reply: Reply) -> str:
    """The state with which somebody is sent to a provider."""
    assert reply.status == 303, (reply.status, reply.body)
    [state] = parse_qs(urlsplit(reply.location).query)["state"]
    return state


def make_token(token_id: str = "id-1", secret: str = "s3cret", **changes: Any) -> TokenRecord:  # noqa: S107
    """A service token, good for ever."""
    record = TokenRecord(token_id, f"Import {token_id}", sha256(secret.encode()).digest(), FOREVER)
    return record._replace(**changes)


def write_pair(token_id: str = "id-1", secret: str = "s3cret", prefix: str = "Keyfob") -> list[tuple[str, str]]:  # noqa: S107
    """The headers of a service token."""
    return [(f"{prefix}-Client-Id", token_id), (f"{prefix}-Client-Secret", secret)]


def encode(text: str) -> str:
    """As a parameter of a query."""
    return quote(text, safe="")


# --- For whole logins on both skins -----------------------------------------------------------------------------------


class Clock:
    """What time it is for both skins."""

    def __init__(self) -> None:
        self.now = time()

    def __call__(self) -> float:
        return self.now


# Puts a skin around a gate; and takes what was recorded since one asked last.
Make = Callable[[House], Skin]
Told = Callable[[], list[dict[str, Any]]]


def open_browser(skin: Make, *applications: Any, leaf: Pair | None = None, **options: Any) -> Browser:
    """A browser that asks a fresh house, of what `build` takes."""
    return Browser(skin(build(*applications, **options)), leaf)


def find_link(reply: Reply) -> str:
    """Where the one button of a page of ours leads, on this host."""
    [address] = re.findall(rb'<a class="button" href="([^"]*)"', reply.body)
    parts = urlsplit(unescape(address.decode()))
    assert (parts.scheme, parts.netloc) == ("https", HOST)
    return f"{parts.path}?{parts.query}"
