"""login.providers.oidc: who it is, from a provider that tells the truth, and nobody from one that does not."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc.jwk import RSAKey

from keyfob.errors import KeyfobError, LoginError, LoginFailed, LoginUnavailable
from keyfob.login.carrying import Carrier
from keyfob.login.journeys import Journey, begin_journey
from keyfob.login.providers.oidc import OpenIDConnect
from keyfob.policy import Fact, FactKind, User
from logins import Memory, make_book
from providers.openid import (
    CLIENT,
    CODE,
    SECRET,
    Issuer,
    issuing,
    make_curve_key,
    make_other_key,
    sign,
    sign_by_nobody,
    sign_with_what_is_public,
)
from providers.serving import Reply, lead, say
from servers import find_port

ADMIN = Fact(FactKind.CLAIM, "work", "role", "admin")
NOW = time.time


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with issuing(Issuer()) as issuer:
        yield issuer


def make(issuer: Issuer, **more: Any) -> OpenIDConnect:
    settings = {"id": "work", "name": "Work", "client_id": CLIENT, "client_secret": SECRET, "issuer": issuer.url}
    return OpenIDConnect(**(settings | more))


CARRIER = Carrier(Memory(make_book()))


def begin(provider: OpenIDConnect, issuer: Issuer, *, afresh: bool = False) -> tuple[Journey, dict[str, str]]:
    """A login that has come to the provider, and what it was told there."""
    journey = begin_journey(provider.id, "tag", "https://money.example.com", "", "/", "mark", NOW())
    address = CARRIER.run(provider.begin(journey, "sealed", frozenset(), afresh=afresh))
    assert address.startswith(f"{issuer.url}/authorize?")
    told = {name: value for name, [value] in parse_qs(urlsplit(address).query).items()}
    issuer.nonce, issuer.challenge = told["nonce"], told["code_challenge"]
    return journey, told


def log_in(
    issuer: Issuer,
    provider: OpenIDConnect | None = None,
    said: Mapping[str, str] = {"code": CODE},
    named: frozenset[Fact] = frozenset(),
) -> User:
    provider = provider or make(issuer)
    journey, _ = begin(provider, issuer)
    return CARRIER.run(provider.finish(journey, said, named, NOW()))


# --- The truth --------------------------------------------------------------------------------------------------------


def test_a_person_is_who_the_provider_says(issuer: Issuer) -> None:
    issuer.claims = {"amr": ["pwd", "mfa"]}
    assert log_in(issuer) == User(
        "rhea.group@example.com", "work", frozenset({"pwd", "mfa"}), subject="117", name="Rhea Group"
    )


def test_the_provider_is_asked_as_the_standards_want_it(issuer: Issuer) -> None:
    """A code, for this client, with a nonce and the challenge of a verifier that it is never told before its turn."""
    journey, told = begin(make(issuer), issuer)
    assert told["response_type"] == "code"
    assert told["client_id"] == CLIENT
    assert told["redirect_uri"] == "https://money.example.com/.keyfob/callback/work"
    assert told["scope"].split() == ["openid", "profile", "email"]
    assert (told["state"], told["nonce"]) == ("sealed", journey.nonce)
    assert told["code_challenge_method"] == "S256"
    assert journey.verifier not in str(told)
    assert "prompt" not in told
    assert begin(make(issuer), issuer, afresh=True)[1]["prompt"] == "login"


@pytest.mark.parametrize("methods", [["client_secret_basic"], ["client_secret_post"]])
def test_the_secret_goes_where_the_provider_takes_it(issuer: Issuer, methods: list[str]) -> None:
    """Encoded as in a form, whatever characters it has."""
    issuer.change_metadata = lambda found: found | {"token_endpoint_auth_methods_supported": methods}
    assert log_in(issuer).subject == "117"


@pytest.mark.parametrize("key", [make_curve_key(), make_curve_key(curve="P-384")], ids=["P-256", "P-384"])
def test_curves_count_as_well(issuer: Issuer, key: Any) -> None:
    issuer.key, issuer.algorithm = key, {"P-256": "ES256", "P-384": "ES384"}[key.as_dict()["crv"]]
    issuer.change_claims = lambda claims: {name: value for name, value in claims.items() if name != "at_hash"}
    assert log_in(issuer).subject == "117"


def test_its_description_and_its_keys_are_asked_for_once(issuer: Issuer) -> None:
    provider = make(issuer)
    for _ in range(3):
        issuer.redeemed = 0
        log_in(issuer, provider)
    paths = issuer.service.paths
    assert paths.count("GET /.well-known/openid-configuration") == paths.count("GET /keys") == 1
    assert paths.count("POST /token") == 3


def test_a_new_key_is_looked_for(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once its copy is a minute old: nobody can have the provider asked again and again by naming other keys."""
    provider = make(issuer)
    log_in(issuer, provider)
    issuer.key, issuer.redeemed = make_other_key("key-2"), 0
    with pytest.raises(LoginFailed, match="publishes no key"):
        log_in(issuer, provider)
    assert issuer.service.paths.count("GET /keys") == 1
    issuer.redeemed = 0
    monkeypatch.setattr("keyfob.login.providers.documents.PAUSE", 0.0)
    assert log_in(issuer, provider).subject == "117"
    assert issuer.service.paths.count("GET /keys") == 2


def test_claims_that_rules_name_are_kept(issuer: Issuer) -> None:
    """In whatever form they come; no others."""
    issuer.claims = {"role": ["admin", 7, 1.5, True, {"x": 1}, None], "salary": 1}
    assert log_in(issuer, named=frozenset({ADMIN})).claims == {"role": {"admin", "7", "1.5", "true"}}
    issuer.redeemed = 0
    assert log_in(issuer).claims == {}


def test_what_the_token_lacks_is_asked_for(issuer: Issuer) -> None:
    """Of userinfo, about the same person; what the token says is not overruled."""
    issuer.change_claims = lambda claims: {name: each for name, each in claims.items() if "email" not in name}
    issuer.account = {"sub": "117", "email": "me@example.com", "email_verified": True, "role": "admin", "name": "Other"}
    user = log_in(issuer, named=frozenset({ADMIN}))
    assert (user.email, user.name) == ("me@example.com", "Rhea Group")
    assert user.claims == {"role": {"admin"}}
    issuer.redeemed, issuer.account = 0, {"sub": "118", "email": "me@example.com", "email_verified": True}
    with pytest.raises(LoginFailed, match="somebody else"):
        log_in(issuer)


@pytest.mark.parametrize(
    ("claims", "settings", "email"),
    [
        ({"email_verified": True}, {}, "rhea.group@example.com"),
        ({"email_verified": "true"}, {}, "rhea.group@example.com"),
        ({"email_verified": False}, {}, ""),
        ({"email_verified": "false"}, {}, ""),
        ({"email_verified": 1}, {}, ""),
        ({"email_verified": None}, {}, ""),
        ({"email_verified": False}, {"trust_email": True}, "rhea.group@example.com"),
        ({"upn": "rhea@example.org"}, {"email_claim_name": "upn", "trust_email": True}, "rhea@example.org"),
        ({"email": ["rhea@example.org"]}, {}, ""),
        ({"email": "rhea@example.org, me@example.com"}, {}, ""),
        ({"email": "rhea@example.org\nx@example.com"}, {}, ""),
        ({"email": "nobody"}, {}, ""),
        ({"email": "rhea@example.com@example.org"}, {}, ""),
        ({"email": "*@example.org"}, {}, ""),
        ({"email": f"{'x' * 254}@example.org"}, {}, ""),
    ],
)
def test_only_an_address_that_was_verified_is_one(
    issuer: Issuer, claims: dict[str, Any], settings: dict[str, Any], email: str
) -> None:
    """By the provider, and about `email` alone; or whoever runs it says so in the configuration."""
    issuer.claims = claims
    assert log_in(issuer, make(issuer, **settings)).email == email


def test_another_claim_is_an_address_where_whoever_runs_it_says_so() -> None:
    """The provider's word is about `email` alone."""
    with pytest.raises(KeyfobError, match="'upn'") as caught:
        OpenIDConnect(
            id="work", name="Work", client_id="c", client_secret=SECRET, issuer="https://x", email_claim_name="upn"
        )
    assert "trust_email = true" in caught.value.hint


@pytest.mark.parametrize(
    ("told", "account", "email"),
    [
        ({"email_verified": True}, {"email": "me@example.com"}, ""),
        ({"email": "a@example.com"}, {"email": "b@example.com", "email_verified": True}, "b@example.com"),
        ({"email": "a@example.com"}, {"email_verified": True}, ""),
        ({"email": "a@example.com"}, {}, ""),
        ({"email": "a@example.com", "email_verified": False}, {"email_verified": True}, ""),
    ],
)
def test_an_address_and_what_it_is_worth_come_from_one_document(
    issuer: Issuer, told: dict[str, Any], account: dict[str, Any], email: str
) -> None:
    """What userinfo says of one address is not said of the token's."""
    issuer.change_claims = lambda claims: {name: each for name, each in claims.items() if "email" not in name} | told
    issuer.account |= account
    assert log_in(issuer).email == email


def test_a_name_is_what_can_be_shown(issuer: Issuer) -> None:
    for name in ("Rhea\nGroup", "\u202eRhea", 7, None):
        issuer.claims, issuer.redeemed = {"name": name}, 0
        assert log_in(issuer).name == ""


def test_whoever_is_named_by_the_answer_has_given_it(issuer: Issuer) -> None:
    """RFC 9207: the answer of another provider, or none where it always says, is a mix-up."""
    assert log_in(issuer, said={"code": CODE, "iss": issuer.url}).subject == "117"
    for said in ({"code": CODE, "iss": "https://evil.example"}, {"code": CODE, "iss": ""}):
        issuer.redeemed = 0
        with pytest.raises(LoginFailed, match="another issuer"):
            log_in(issuer, said=said)
        assert issuer.redeemed == 0
    issuer.change_metadata = lambda found: found | {"authorization_response_iss_parameter_supported": True}
    with pytest.raises(LoginFailed, match="as it does always"):
        log_in(issuer)


# --- Lies -------------------------------------------------------------------------------------------------------------


def change(**changes: Any) -> Callable[[Issuer], None]:
    def lie(issuer: Issuer) -> None:
        issuer.change_claims = lambda claims: {
            name: value for name, value in (claims | changes).items() if value is not None
        }

    return lie


def shift(**seconds: int) -> Callable[[Issuer], None]:
    """Moments from when it is asked for: all of these together run for longer than some of them are away."""

    def lie(issuer: Issuer) -> None:
        now = int(NOW())
        change(**{name: now + away for name, away in seconds.items()})(issuer)

    return lie


def change_token(**changes: Any) -> Callable[[Issuer], None]:
    def lie(issuer: Issuer) -> None:
        issuer.change_token = lambda found: {
            name: value for name, value in (found | changes).items() if value is not None
        }

    return lie


def sign_as_nobody(issuer: Issuer) -> None:
    issuer.make_token = sign_by_nobody


def sign_with_public_key(issuer: Issuer) -> None:
    assert isinstance(issuer.key, RSAKey)
    issuer.make_token = sign_with_what_is_public(issuer.key)


def sign_with_another_key(issuer: Issuer) -> None:
    other = make_other_key()
    issuer.make_token = lambda header, claims: sign(header, claims, other)


def sign_with_a_curve(issuer: Issuer) -> None:
    """Under the id of an RSA key."""
    other = make_curve_key()
    issuer.make_token = lambda header, claims: sign({**header, "alg": "ES256"}, claims, other)


def keep_an_old_key(issuer: Issuer) -> None:
    """What was published yesterday signs today."""
    old, issuer.key = issuer.key, make_other_key("key-2")
    issuer.make_token = lambda header, claims: sign({**header, "kid": "key-1"}, claims, old)


def bring_its_own_key(issuer: Issuer) -> None:
    other = make_other_key()
    public = other.as_dict(private=False)
    issuer.make_token = lambda header, claims: sign({**header, "jwk": public}, claims, other)


def tamper(issuer: Issuer) -> None:
    def make_token(header: dict[str, Any], claims: dict[str, Any]) -> str:
        first, _, last = sign(header, claims, issuer.key).split(".")
        return f"{first}.{sign(header, claims | {'sub': '1'}, issuer.key).split('.')[1]}.{last}"

    issuer.make_token = make_token


LIES: dict[str, Callable[[Issuer], None]] = {
    "alg none": sign_as_nobody,
    "HMAC with the public key": sign_with_public_key,
    "another key of the same id": sign_with_another_key,
    "a curve under the id of an RSA key": sign_with_a_curve,
    "a key that was retired": keep_an_old_key,
    "a key of its own in the header": bring_its_own_key,
    "other claims under a signature": tamper,
    "another issuer": change(iss="https://evil.example"),
    "no issuer": change(iss=None),
    "another audience": change(aud="client:2"),
    "no audience": change(aud=None),
    "two audiences and no azp": change(aud=[CLIENT, "client:2"]),
    "another azp": change(aud=[CLIENT, "client:2"], azp="client:2"),
    "azp of another client alone": change(azp="client:2"),
    "expired": shift(exp=-300),
    "no end": change(exp=None),
    "an end that is no moment": change(exp="never"),
    "half a character among its methods": change(amr=["\ud800"]),
    "begins in ten minutes": shift(nbf=600),
    "issued in ten minutes": shift(iat=600),
    "issued ten minutes ago": shift(iat=-600),
    "another nonce": change(nonce="x"),
    "no nonce": change(nonce=None),
    "another access token": change(at_hash="x"),
    "no subject": change(sub=None),
    "an empty subject": change(sub=""),
    "a number for a subject": change(sub=117),
    "an endless subject": change(sub="x" * 256),
    "methods that are no list": change(amr="mfa"),
    "no ID token": change_token(id_token=None),
    "an ID token that is none": change_token(id_token=".".join("abc")),
    "an encrypted ID token": change_token(id_token=".".join("abcde")),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_lie_logs_nobody_in(issuer: Issuer, lie: Callable[[Issuer], None]) -> None:
    lie(issuer)
    with pytest.raises(LoginFailed):
        log_in(issuer)


def test_a_clock_that_is_wrong_is_named(issuer: Issuer) -> None:
    """By how much, so that somebody sets it; a minute is nothing."""
    shift(iat=600, nbf=600, exp=900)(issuer)
    with pytest.raises(LoginFailed, match="clock"):
        log_in(issuer)
    issuer.redeemed = 0
    shift(iat=40, exp=340)(issuer)
    assert log_in(issuer).subject == "117"


def test_a_code_is_good_once(issuer: Issuer) -> None:
    """The provider says so, and so do we."""
    provider = make(issuer)
    journey, _ = begin(provider, issuer)
    CARRIER.run(provider.finish(journey, {"code": CODE}, frozenset(), NOW()))
    with pytest.raises(LoginFailed, match="the code is used up"):
        CARRIER.run(provider.finish(journey, {"code": CODE}, frozenset(), NOW()))


def test_another_login_s_code_is_worth_nothing(issuer: Issuer) -> None:
    """RFC 7636: whoever has stolen one lacks the verifier."""
    provider = make(issuer)
    mine, _ = begin(provider, issuer)
    begin(provider, issuer)
    with pytest.raises(LoginFailed, match="invalid_grant"):
        CARRIER.run(provider.finish(mine, {"code": CODE}, frozenset(), NOW()))


@pytest.mark.parametrize("said", [{"error": "access_denied"}, {"error": "server_error", "code": CODE}, {}])
def test_what_the_provider_refuses_is_told_to_the_log(issuer: Issuer, said: dict[str, str]) -> None:
    with pytest.raises(LoginFailed, match="Work"):
        log_in(issuer, said=said)
    assert issuer.redeemed == 0


NONSENSE: dict[str, dict[str, Reply]] = {
    "no description": {"/.well-known/openid-configuration": Reply(404)},
    "a description that is no JSON": {"/.well-known/openid-configuration": Reply(200, b"<html>")},
    "a description that is a list": {"/.well-known/openid-configuration": say([])},
    "a description elsewhere": {"/.well-known/openid-configuration": lead("https://evil.example/")},
    "a description of two megabytes": {"/.well-known/openid-configuration": say({"issuer": "x" * 2_000_000})},
    "keys that are no JSON": {"/keys": Reply(200, b"{")},
    "keys that are no list": {"/keys": say({"keys": "all of them"})},
    "keys that nest for ever": {"/keys": Reply(200, b"[" * 100_000)},
    "a name twice": {"/keys": Reply(200, b'{"keys": [], "keys": []}')},
    "a token that is no JSON": {"/token": Reply(200, b"access_token=x")},
    "a token endpoint that is down": {"/token": Reply(502)},
    "a token that leads elsewhere": {"/token": lead("https://evil.example/")},
    "a token of another type": {"/token": say({"access_token": "x", "token_type": "mac", "id_token": "x"})},
    "half a character": {"/keys": Reply(200, b'{"keys": [], "x": "\\ud800"}')},
    "a token with a line in it": {"/token": say({"access_token": "x\r\ny: z", "token_type": "Bearer"})},
}


@pytest.mark.parametrize("replies", NONSENSE.values(), ids=NONSENSE)
def test_nonsense_is_a_provider_that_is_not_there(issuer: Issuer, replies: dict[str, Reply]) -> None:
    """The person is told to try again, and whoever runs the app what was said."""
    issuer.replies = replies
    with pytest.raises(LoginUnavailable):
        log_in(issuer)


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": "https://evil.example"},
        {"issuer": None},
        {"token_endpoint": "http://evil.example/token"},
        {"token_endpoint": "https://evil.example:x/token"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"jwks_uri": None},
        {"token_endpoint_auth_methods_supported": ["private_key_jwt"]},
    ],
)
def test_a_description_has_to_be_its_own_and_private(issuer: Issuer, changes: dict[str, Any]) -> None:
    """Another issuer's is refused: it would log in as that one's people."""
    issuer.change_metadata = lambda found: {
        name: value for name, value in (found | changes).items() if value is not None
    }
    with pytest.raises(LoginUnavailable):
        log_in(issuer)


def test_a_provider_that_is_down_is_said_to_be(issuer: Issuer) -> None:
    provider = make(issuer)
    provider.issuer = f"http://localhost:{find_port()}"
    with pytest.raises(LoginUnavailable, match="localhost"):
        begin(provider, issuer)


def test_a_copy_does_while_the_provider_is_silent(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of its description and keys, for a day; of tokens there is none."""
    provider = make(issuer)
    log_in(issuer, provider)
    monkeypatch.setattr("keyfob.login.providers.documents.HOUR", 0.0)
    issuer.redeemed = 0
    issuer.replies = {"/.well-known/openid-configuration": Reply(503), "/keys": Reply(503)}
    assert log_in(issuer, provider).subject == "117"
    issuer.replies["/token"] = Reply(503)
    with pytest.raises(LoginError):
        log_in(issuer, provider)


@pytest.mark.parametrize(
    "url",
    [
        "http://id.example.com",
        "https://id.example.com/?x=1",
        "https://id.example.com/#x",
        "id.example.com",
        "ftp://x",
        "",
    ],
)
def test_an_issuer_is_a_private_address(url: str) -> None:
    """http is for trials on this very machine."""
    with pytest.raises(KeyfobError, match="is no issuer"):
        OpenIDConnect(id="work", name="Work", client_id="c", client_secret=SECRET, issuer=url)
