"""External evaluation: over a socket, against a service that does as documented, and one that lies in every way."""

import base64
import hmac
import json
import logging
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jws
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from certificates import make_authority, make_server
from keyfob.errors import LoginError
from keyfob.login import evaluation
from keyfob.login.carrying import Carrier
from keyfob.login.evaluation import evaluate
from keyfob.login.journeys import Journey, begin_journey
from keyfob.policy import Fact, FactKind, User
from keyfob.request import Request
from logins import ME, SKINS, Browser, House, Memory, Skin, build, make_application, make_policy, tag
from providers.evaluator import AsymmetricKey, Evaluator, Key, evaluator
from providers.mailbox import make_context
from providers.serving import Reply, say

HOUSE = build()
WHO = User(
    "me@example.com",
    "work",
    frozenset({"pwd", "mfa"}),
    frozenset({"finance", "board"}),
    {"acme": frozenset({"b", "a"})},
    {"salary": frozenset({"5"})},
    subject="7",
    name="Me",
)


@pytest.fixture(autouse=True)
def _no_service_had_this_port_before() -> None:
    """Keys are kept by their address."""
    evaluation._find_keys.cache_clear()


@pytest.fixture
def service() -> Iterator[Evaluator]:
    with evaluator(HOUSE.desk.sessions.publish) as running:
        yield running


def name(*services: Evaluator) -> frozenset[Fact]:
    return frozenset(Fact(FactKind.EVALUATED, "", each.evaluate_url, each.keys_url) for each in services)


def make_journey(at: float) -> Journey:
    return begin_journey("work", tag("Budget"), "https://money.example.com", "/budget", "/budget/", "browser", at)


def judge(named: frozenset[Fact], at: float | None = None, **more: Any) -> User:
    """What becomes of somebody, over real sockets."""
    now = time.time() if at is None else at
    request = Request({"type": "http", "headers": [], "path": "/"}, "money.example.com", now, **more)
    return Carrier(Memory(HOUSE.book)).run(evaluate(WHO, named, HOUSE.desk, make_journey(now), request))


def holds(service: Evaluator, at: float | None = None) -> bool:
    user = judge(name(service), at)
    assert user._replace(evaluated=frozenset()) == WHO
    assert user.evaluated <= {(service.evaluate_url, service.keys_url)}
    return bool(user.evaluated)


# --- The question -----------------------------------------------------------------------------------------------------


def test_a_service_says_yes(service: Evaluator) -> None:
    assert holds(service)


def test_a_service_says_no(service: Evaluator, caplog: pytest.LogCaptureFixture) -> None:
    """Which is nothing to warn of."""
    service.says = lambda identity: False
    assert not holds(service)
    assert caplog.text == ""


def test_the_question_says_what_is_known_of_the_person(service: Evaluator) -> None:
    """What a provider has said beyond what people are judged by stays here."""
    service.says = lambda identity: identity["email"] == "me@example.com"
    assert holds(service)
    [(header, said)] = service.questions
    assert header["typ"] == "evaluation+jwt"
    assert header["alg"] == "ES256"
    assert said["identity"] == {
        "id": "7",
        "email": "me@example.com",
        "name": "Me",
        "idp": {"id": "work"},
        "amr": ["mfa", "pwd"],
        "groups": ["board", "finance"],
        "organizations": {"acme": ["a", "b"]},
    }
    assert said["iss"] == "https://money.example.com/budget"
    assert said["aud"] == [service.evaluate_url]
    assert said["application"] == "Budget"
    assert abs(said["iat"] - time.time()) < 60
    assert said["exp"] == said["iat"] + 120
    [asked] = [each for each in service.asked if each.method == "POST"]
    assert asked.headers["content-type"] == "application/json"
    assert list(asked.json) == ["token"]


def test_the_question_says_where_the_client_is_if_that_is_known(service: Evaluator) -> None:
    judge(name(service), client=ip_address("192.0.2.7"))
    assert service.questions[-1][1]["identity"]["ip"] == "192.0.2.7"


def test_no_question_is_asked_twice(service: Evaluator) -> None:
    for _ in range(3):
        judge(name(service))
    assert len({said["nonce"] for _, said in service.questions}) == 3
    assert min(len(said["nonce"]) for _, said in service.questions) == 32


def test_a_question_opens_no_session(service: Evaluator) -> None:
    """It is signed with the keys of sessions, and a service elsewhere has it."""
    judge(name(service))
    token = service.asked[0].json["token"]
    for audience in (tag("Budget"), service.evaluate_url):
        with pytest.raises(LoginError):
            HOUSE.desk.sessions.open(token, audience, time.time())


def test_nobody_is_asked_about_what_no_rule_names(service: Evaluator) -> None:
    judge(frozenset({Fact(FactKind.GROUP, "work", service.evaluate_url, service.keys_url)}))
    assert service.asked == []


def test_each_service_answers_for_itself(service: Evaluator) -> None:
    with evaluator(HOUSE.desk.sessions.publish) as down, evaluator(HOUSE.desk.sessions.publish) as other:
        down.replies["/evaluate"] = None
        user = judge(name(service, down, other))
        assert user.evaluated == {(each.evaluate_url, each.keys_url) for each in (service, other)}


def test_the_keys_of_another_service_are_not_those_of_this_one(service: Evaluator) -> None:
    with evaluator(HOUSE.desk.sessions.publish) as other:
        fact = Fact(FactKind.EVALUATED, "", service.evaluate_url, other.keys_url)
        other.key = ECKey.generate_key("P-256", {"kid": "service-1"})
        assert judge(frozenset({fact})).evaluated == frozenset()


# --- Lies -------------------------------------------------------------------------------------------------------------

ANOTHER = ECKey.generate_key("P-256", {"kid": "service-1"})


def spoil(**changes: Any) -> Callable[[Evaluator], None]:
    """Signs something else: None leaves it out."""

    def change(service: Evaluator) -> None:
        service.spoil = lambda said: {key: each for key, each in (said | changes).items() if each is not None}

    return change


def shift(member: str, seconds: float) -> Callable[[Evaluator], None]:
    def change(service: Evaluator) -> None:
        service.spoil = lambda said: said | {member: said[member] + seconds}

    return change


def reply(path: str, answer: Reply | None) -> Callable[[Evaluator], None]:
    def change(service: Evaluator) -> None:
        service.replies[path] = answer

    return change


def answer_with(status: int) -> Callable[[Evaluator], None]:
    """The right answer, under another status."""

    def change(service: Evaluator) -> None:
        service.status = status

    return change


def sign_by(key: Key, algorithm: str = "ES256", **header: Any) -> Callable[[Evaluator], None]:
    """Another key than the one that is published."""

    def change(service: Evaluator) -> None:
        service.make_token = lambda said: service.sign(said, key, algorithm, **header)

    return change


def publish(**changes: Any) -> Callable[[Evaluator], None]:
    """Another description of the right key."""

    def change(service: Evaluator) -> None:
        service.replies["/keys"] = say({"keys": [service.key.as_dict(private=False) | changes]})

    return change


def write_raw(make: Callable[[str], str]) -> Callable[[Evaluator], None]:
    """A token that no library would make, from an honest one."""

    def change(service: Evaluator) -> None:
        service.make_token = lambda said: make(service.sign(said))

    return change


def encode(content: Any) -> str:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def unsign(token: str) -> str:
    return f"{encode({'alg': 'none'})}.{token.split('.')[1]}."


def sign_with_public_key(service: Evaluator) -> None:
    """The public key as the secret of an HMAC: whoever looks up keys by name alone would take it."""
    secret = service.key.as_pem(private=False)

    def sign(said: Any) -> str:
        head = f"{encode({'alg': 'HS256', 'kid': 'service-1'})}.{encode(said)}"
        return f"{head}.{encode(hmac.digest(secret, head.encode(), 'sha256'))}"

    service.make_token = sign


def publish_secret(service: Evaluator) -> None:
    """A secret among the public keys."""
    secret = OctKey.generate_key(256, {"kid": "service-1"})
    service.replies["/keys"] = say({"keys": [secret.as_dict(private=True)]})
    sign_by(secret, "HS256")(service)


def use_small_key(service: Evaluator) -> None:
    key = rsa.generate_private_key(65537, 1024)  # noqa: S505 - that is what it is about
    modulus = key.public_key().public_numbers().n.to_bytes(128, "big")

    def sign(said: Any) -> str:
        head = f"{encode({'alg': 'RS256', 'kid': 'service-1'})}.{encode(said)}"
        return f"{head}.{encode(key.sign(head.encode(), padding.PKCS1v15(), hashes.SHA256()))}"

    service.make_token = sign
    service.replies["/keys"] = say({"keys": [{"kty": "RSA", "kid": "service-1", "n": encode(modulus), "e": "AQAB"}]})


def sign_list(service: Evaluator) -> str:
    return jws.serialize_compact({"alg": "ES256", "kid": "service-1"}, "[]", service.key)


def replay(service: Evaluator) -> None:
    """The answer to a question that was asked before."""
    assert holds(service)
    said = service.questions[-1][1]["nonce"]
    spoil(nonce=said)(service)


LIES: dict[str, Callable[[Evaluator], None]] = {
    "a server error": answer_with(500),
    "forbidden": answer_with(403),
    "another success": answer_with(202),
    "a redirect": reply("/evaluate", Reply(307, b"", {"location": "/other"})),
    "hung up": reply("/evaluate", None),
    "no JSON": reply("/evaluate", Reply(200, b"true")),
    "no text": reply("/evaluate", Reply(200, b"\xff")),
    "empty": reply("/evaluate", Reply(200, b"")),
    "unsigned JSON": reply("/evaluate", say({"success": True})),
    "nested": reply("/evaluate", Reply(200, b'{"token":' * 100_000)),
    "huge": reply("/evaluate", Reply(200, b" " * 1_100_000)),
    "a number for a token": reply("/evaluate", say({"token": 7})),
    "no token": reply("/evaluate", say({"token": "yes"})),
    "two dots": reply("/evaluate", say({"token": ".."})),
    "another alphabet": reply("/evaluate", say({"token": "é.é.é"})),
    "unsigned": write_raw(unsign),
    "signed by nothing": write_raw(lambda token: token.rpartition(".")[0] + "."),
    "changed": write_raw(lambda token: f"{token[:-8]}AAAAAAAA"),
    "signed by another key": sign_by(ANOTHER),
    "signed by an unknown key": sign_by(ANOTHER, kid="service-2"),
    "signed by another key without a name": sign_by(ANOTHER, kid=None),
    "signed by a secret that is public": sign_with_public_key,
    "signed by a secret": publish_secret,
    "signed by a key that is too small": use_small_key,
    "a key for something else": publish(use="enc"),
    "a key for another algorithm": publish(alg="ES384"),
    "a key of another kind": publish(kty="RSA"),
    "the same key twice": lambda service: service.replies.update(
        {"/keys": say({"keys": [service.key.as_dict(private=False), ANOTHER.as_dict(private=False)]})}
    ),
    "no keys": reply("/keys", say({"keys": []})),
    "keys that are no list": reply("/keys", say({"keys": {}})),
    "keys that are no JSON": reply("/keys", Reply(200, b"-----BEGIN PUBLIC KEY-----")),
    "keys that are gone": reply("/keys", Reply(404)),
    "keys that hang up": reply("/keys", None),
    "huge keys": reply("/keys", Reply(200, b" " * 1_100_000)),
    "expired": shift("exp", -180.0),
    "signed in the future": shift("iat", 600.0),
    "signed ten minutes ago": shift("iat", -600.0),
    "without an end": spoil(exp=None),
    "without a beginning": spoil(iat=None),
    "an end that is a text": spoil(exp="4102444800"),
    "an end that is a truth": spoil(exp=True),
    "an end beyond all time": spoil(exp=10**400),
    "a beginning that is a list": spoil(iat=[1]),
    "another question": spoil(nonce="AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
    "no question": spoil(nonce=None),
    "an old answer": replay,
    "no": spoil(success=False),
    "nearly yes": spoil(success="true"),
    "one": spoil(success=1),
    "a list of yes": spoil(success=[True]),
    "nothing": spoil(success=None),
    "a list": lambda service: setattr(service, "make_token", lambda said: sign_list(service)),
}


@pytest.mark.parametrize("lie", LIES)
def test_whatever_goes_wrong_is_a_no(service: Evaluator, lie: str, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody is let in by it, nobody's login breaks, and the log says what it was, without what was said."""
    LIES[lie](service)
    with caplog.at_level(logging.WARNING, "keyfob.login"):
        assert not holds(service)
    is_answer = lie in {"no", "nearly yes", "one", "a list of yes", "nothing"}
    assert len(caplog.records) == (0 if is_answer else 1), caplog.text
    if not is_answer:
        assert f"the evaluation by {service.evaluate_url} counts as a no: " in caplog.text
        assert WHO.email not in caplog.text
        for asked in service.asked:
            assert asked.method == "GET" or asked.json["token"] not in caplog.text


def test_two_answers_in_one_are_none(service: Evaluator) -> None:
    """Whoever reads the first `success` and whoever reads the last would not agree."""
    key = service.key

    def sign(said: dict[str, Any]) -> str:
        text = json.dumps(said)[:-1] + ', "success": true}'
        return jws.serialize_compact({"alg": "ES256", "kid": "service-1"}, text, key)

    service.says = lambda identity: False
    service.make_token = sign
    assert not holds(service)


def test_nobody_is_there(service: Evaluator, caplog: pytest.LogCaptureFixture) -> None:
    service.service.ended.set()
    fact = Fact(FactKind.EVALUATED, "", "http://localhost:1/evaluate?secret=hush", service.keys_url)
    with caplog.at_level(logging.WARNING, "keyfob.login"):
        assert judge(frozenset({fact})).evaluated == frozenset()
    assert "http://localhost:1/evaluate counts as a no" in caplog.text
    assert "hush" not in caplog.text


def test_a_slow_service_is_not_waited_for(service: Evaluator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keyfob.login.carrying.PATIENCE", 0.3)
    service.replies["/evaluate"] = Reply(200, b"{}", wait=60.0)
    assert not holds(service)


def test_all_of_them_together_have_an_end(service: Evaluator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many slow ones would keep somebody for minutes; those that are not asked any more count as a no."""
    monkeypatch.setattr(evaluation, "PATIENCE", 0.0)
    assert not holds(service)
    assert service.asked == []


# --- Keys -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (lambda: RSAKey.generate_key(2048, {"kid": "service-1"}), "RS256"),
        (lambda: RSAKey.generate_key(2048, {"kid": "service-1"}), "PS512"),
        (lambda: ECKey.generate_key("P-384", {"kid": "service-1"}), "ES384"),
        (lambda: OKPKey.generate_key("Ed25519", {"kid": "service-1"}), "Ed25519"),
    ],
)
def test_a_service_signs_by_what_others_can_verify_alone(
    service: Evaluator, key: Callable[[], AsymmetricKey], algorithm: str
) -> None:
    """The first is what the example of Access has."""
    service.key, service.algorithm = key(), algorithm
    assert holds(service)


def test_the_older_name_of_a_signature_is_as_good(service: Evaluator) -> None:
    """RFC 9864 parts EdDSA into its curves; whoever signs so says the older name still."""
    key = ed25519.Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    service.replies["/keys"] = say({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "x", "x": encode(public)}]})

    def sign(said: Any) -> str:
        head = f"{encode({'alg': 'EdDSA', 'kid': 'x'})}.{encode(said)}"
        return f"{head}.{encode(key.sign(head.encode()))}"

    service.make_token = sign
    assert holds(service)


def test_keys_are_kept_for_five_minutes(service: Evaluator, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    for at in (now, now + 30, now + 59):
        assert holds(service, at)
    assert service.service.paths.count("GET /keys") == 1
    monkeypatch.setattr("providers.evaluator.time.time", lambda: now + 301)
    assert holds(service, now + 301)
    assert service.service.paths.count("GET /keys") == 2


def test_a_new_key_is_looked_for_once(service: Evaluator) -> None:
    now = time.time()
    assert holds(service, now)
    service.key = ECKey.generate_key("P-256", {"kid": "service-2"})
    assert holds(service, now + 5)
    assert service.service.paths.count("GET /keys") == 2
    sign_by(ANOTHER, kid="service-3")(service)
    assert not holds(service, now + 10)
    assert service.service.paths.count("GET /keys") == 3


def test_a_key_that_was_withdrawn_ends_with_its_time(service: Evaluator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where nobody answers any more at the address of the keys."""
    now = time.time()
    assert holds(service, now)
    service.replies["/keys"] = None
    assert holds(service, now + 50)
    monkeypatch.setattr("providers.evaluator.time.time", lambda: now + 301)
    assert not holds(service, now + 301)


# --- The whole login --------------------------------------------------------------------------------------------------


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[House, Evaluator]]:
    """A rule has https addresses, so the service has a certificate, of a CA that the system is told to trust."""
    root = make_authority("Services")
    authority = tmp_path / "ca.pem"
    authority.write_text(root.pem, encoding="ascii")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    with evaluator(dict, make_context(make_server(root))) as running:
        rule = {"external_evaluation": {"evaluate_url": running.evaluate_url, "keys_url": running.keys_url}}
        built = build(make_application(make_policy("allow", rule)))
        running.publish = built.desk.sessions.publish
        yield built, running


@pytest.mark.parametrize("make", SKINS, ids=["asgi", "wsgi"])
def test_who_is_let_in_is_kept_in_the_session(house: tuple[House, Evaluator], make: type[Skin]) -> None:
    """The service is asked at the login, and not with every request."""
    built, running = house
    running.says = lambda identity: identity["email"] == ME.email
    browser = Browser(make(built.gate))
    assert browser.log_in().status == 200
    assert browser.get("/again").status == 200
    assert len(running.questions) == 1
    [seen] = browser.get("/").seen
    assert seen.identity.user is not None
    assert seen.identity.user.evaluated == {(running.evaluate_url, running.keys_url)}


@pytest.mark.parametrize("how", ["no", "down"])
@pytest.mark.parametrize("make", SKINS, ids=["asgi", "wsgi"])
def test_who_is_not_let_in_gets_no_session(house: tuple[House, Evaluator], make: type[Skin], how: str) -> None:
    built, running = house
    running.says = lambda identity: False
    if how == "down":
        running.replies["/evaluate"] = None
    browser = Browser(make(built.gate))
    reply = browser.come_back(browser.begin())
    assert (reply.status, reply.cookies) == (401, [])
    assert b"This door is closed to you" in reply.body
