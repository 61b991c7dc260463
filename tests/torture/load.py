"""People who use the app at once, each one thing after the other, until it is gone."""

import http.client
import json
import ssl
import threading
import urllib.parse
from collections.abc import Sequence
from typing import Any

from torture.findings import Findings
from torture.promises import Ask, Person, Promise

_SECONDS = 30


class Visitor:
    """One connection to the app, with the device's TLS context, or none for plain HTTP."""

    def __init__(self, port: int, client: ssl.SSLContext | None) -> None:
        self._connection = (
            http.client.HTTPConnection("localhost", port, timeout=_SECONDS)
            if client is None
            else http.client.HTTPSConnection("localhost", port, timeout=_SECONDS, context=client)
        )

    def ask(self, path: str, fields: dict[str, str] | None = None) -> tuple[int, Any] | None:
        """The status and the document; None if nobody can tell what became of the request."""
        body = None if fields is None else urllib.parse.urlencode(fields)
        headers = {"accept": "application/json"}
        if body is not None:
            headers["content-type"] = "application/x-www-form-urlencoded"
        try:
            self._connection.request("GET" if body is None else "POST", path, body, headers)
            response = self._connection.getresponse()
            return response.status, json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError):
            self._connection.close()
            return None

    def close(self) -> None:
        self._connection.close()


class Load:
    """What everybody does from `start` until the server is gone, or `stop`."""

    def __init__(self, people: Sequence[Person], findings: Findings) -> None:
        self._people, self._findings = people, findings
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self, port: int, client: ssl.SSLContext | None) -> None:
        for person in self._people:
            visitor = Visitor(port, client)
            self._threads.append(threading.Thread(target=self._use, args=(person, visitor)))
            self._threads[-1].start()

    def stop(self) -> None:
        """Let everybody finish what they are doing."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _use(self, person: Person, visitor: Visitor) -> None:
        try:
            while not self._stopping.is_set() and self._do(*person.next(), visitor):
                pass
        finally:
            visitor.close()

    def _do(self, promise: Promise, ask: Ask, visitor: Visitor) -> bool:
        """Whether the app is still there."""
        again = ask.kind == "again"
        if not again:
            promise.doubt = ask.to
        answer = visitor.ask(ask.path, ask.fields)
        if answer is None:
            return False
        status, document = answer
        self._findings.count(f"{ask.kind}, acknowledged")
        if status not in ((200,) if again else (200, 201)):
            self._findings.add("other", f"{ask.kind} of {promise.entry_id} was answered {status}: {document}")
            return False
        if not again:
            self._accept(promise, ask, document)
        return True

    def _accept(self, promise: Promise, ask: Ask, document: Any) -> None:
        if document["entry"]["version"] != ask.to.version:
            told = f"{ask.kind} of {promise.entry_id} made {document['entry']}, not {ask.to}"
            self._findings.add("damaged", told)
        promise.states.append(ask.to)
        promise.doubt = None
