"""A service that evaluates people, as Access documents it: it gets a signed question, and signs its answer.

with evaluator(lambda: desk.sessions.publish()) as service:
    service.says = lambda identity: identity["email"] == "me@example.com"
    … a rule about service.evaluate_url and service.keys_url …
"""

import contextlib
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OctKey, OKPKey, RSAKey

from providers.serving import Asked, Reply, Service, say, serving

AsymmetricKey = RSAKey | ECKey | OKPKey
Key = AsymmetricKey | OctKey


class Evaluator:
    """What the tests may look at and change. `replies` are answers given instead, by path.

    `publish` is where it finds the keys of whoever asks, `says` its own judgement, `spoil` changes what it would sign,
    `make_token` signs it, and
    `status` is that of its answer.
    """

    def __init__(self, publish: Callable[[], Any]) -> None:
        self.publish = publish
        self.says: Callable[[Mapping[str, Any]], bool] = lambda identity: True
        self.spoil: Callable[[dict[str, Any]], Any] = lambda said: said
        self.key: AsymmetricKey = ECKey.generate_key("P-256", {"kid": "service-1"})
        self.algorithm = "ES256"
        self.status = 200
        self.make_token: Callable[[Any], str] = self.sign
        self.replies: dict[str, Reply | None] = {}
        self.questions: list[tuple[Mapping[str, Any], Mapping[str, Any]]] = []
        self.service = Service("", [], threading.Event())

    @property
    def evaluate_url(self) -> str:
        return f"{self.service.url}/evaluate"

    @property
    def keys_url(self) -> str:
        return f"{self.service.url}/keys"

    @property
    def asked(self) -> list[Asked]:
        return self.service.asked

    def answer(self, asked: Asked) -> Reply | None:
        if asked.path in self.replies:
            return self.replies[asked.path]
        if (asked.method, asked.path) == ("GET", "/keys"):
            return say({"keys": [self.key.as_dict(private=False)]})
        if (asked.method, asked.path) == ("POST", "/evaluate"):
            return self._evaluate(asked)
        return Reply(404)

    def _evaluate(self, asked: Asked) -> Reply:
        token = jwt.decode(asked.json["token"], KeySet.import_key_set(self.publish()), algorithms=["ES256"])
        self.questions.append((token.header, token.claims))
        now = int(time.time())
        if token.claims["exp"] < now:
            return say({"success": False, "error": "expired token"}, 403)
        said = {
            "success": self.says(token.claims["identity"]),
            "iat": now,
            "exp": now + 60,
            "nonce": token.claims["nonce"],
        }
        return say({"token": self.make_token(self.spoil(said))}, self.status)

    def sign(self, said: Any, key: Key | None = None, algorithm: str = "", **header: Any) -> str:
        """A token of this service, or of another one."""
        key, algorithm = key or self.key, algorithm or self.algorithm
        head = {"alg": algorithm, "kid": self.key.kid, **header}
        return jwt.encode({name: each for name, each in head.items() if each is not None}, said, key, [algorithm])


@contextlib.contextmanager
def evaluator(publish: Callable[[], Any], tls: ssl.SSLContext | None = None) -> Iterator[Evaluator]:
    """One that is up, and says yes."""
    found = Evaluator(publish)
    with serving(found.answer, tls) as found.service:
        yield found
