"""login.sessions: what is a session, and all that only looks like one."""

import hmac
import inspect
import json
import sys
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from typing import Any
from unittest.mock import patch

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_private_key
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwe, jwt
from joserfc.jwk import ECKey, OctKey

import keyfob.login.sessions
from keyfob.errors import LoginFailed, LoginLapsed, LoginUnavailable
from keyfob.login.book import ADDRESS, EVERYBODY, PERSON, SESSION, Ending, SessionKey
from keyfob.login.cookies import name_session
from keyfob.login.sessions import LARGEST, LARGEST_SEALED, SKEW, Session, Sessions, find_held
from keyfob.policy import Fact, FactKind, User
from logins import HOST, KEY, ME, make_book, make_facts, make_key, tag
from situations import REQUEST, person

AT = 1_800_000_000.0
AUDIENCE = tag("Budget")
PRINT = "ab" * 32
OTHER_KEY = make_key("key-2")
# The public key in every form in which somebody could take it for the secret of an HMAC.
PUBLIC = load_der_private_key(KEY.private, None).public_key()
FORMS = [
    PUBLIC.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    PUBLIC.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    PUBLIC.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint),
    json.dumps(Sessions(make_book()).publish()).encode(),
    KEY.private,
    KEY.seal,
    b"",
]


def session(**changes: Any) -> Session:
    return Session("session-1", AUDIENCE, AT, AT + 3600, ME)._replace(**changes)


def seal(**changes: Any) -> str:
    return Sessions(make_book()).seal(session(**changes), [], AT)


def encode(content: object) -> str:
    octets = content if isinstance(content, bytes) else json.dumps(content).encode()
    return urlsafe_b64encode(octets).rstrip(b"=").decode("ascii")


CLAIMS: Mapping[str, Any] = {
    "iss": "keyfob",
    "aud": AUDIENCE,
    "jti": "session-1",
    "iat": AT,
    "exp": AT + 3600,
    "idp": "stub",
    "sub": "7",
    "email": "boss@example.com",
}
HEADER: Mapping[str, Any] = {"alg": "ES256", "kid": KEY.kid, "typ": "session+jwt"}


def sign(key: SessionKey, claims: Mapping[str, Any] = CLAIMS, **header: Any) -> str:
    """What somebody signs who has this key."""
    return jwt.encode({**HEADER, **header}, dict(claims), ECKey.import_key(key.private), algorithms=["ES256"])


def sign_with_secret(secret: bytes, algorithm: str = "HS256") -> str:
    text = f"{encode({**HEADER, 'alg': algorithm})}.{encode(CLAIMS)}"
    return f"{text}.{encode(hmac.digest(secret, text.encode(), algorithm.replace('HS', 'sha')))}"


def test_a_session_is_what_was_sealed() -> None:
    """All that an app or a rule can ask of it, whether there was a certificate or not."""
    user = ME._replace(methods=frozenset({"mfa", "pwd"}))
    sessions = Sessions(make_book())
    for bound in ("", PRINT):
        before = session(user=user, bound_to=bound)
        assert sessions.open(sessions.seal(before, [], AT), AUDIENCE, AT) == before


def test_the_same_test_would_open_a_forgery_if_it_were_none() -> None:
    """So that those below are refused for what is wrong with them, and for nothing else."""
    assert Sessions(make_book()).open(sign(KEY), AUDIENCE, AT).user.email == "boss@example.com"


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "", None, "HS256", "RS256", "ES384", "ES256K"])
@pytest.mark.parametrize("signature", ["", "AAAA", seal().rpartition(".")[2]])
def test_no_other_algorithm_counts(algorithm: str | None, signature: str) -> None:
    """Also not the one that is none."""
    token = f"{encode({**HEADER, 'alg': algorithm})}.{encode(CLAIMS)}.{signature}"
    with pytest.raises(LoginFailed):
        Sessions(make_book()).open(token, AUDIENCE, AT)


@pytest.mark.parametrize("secret", FORMS)
@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_the_public_key_is_nobodys_secret(secret: bytes, algorithm: str) -> None:
    """Everybody can read it."""
    with pytest.raises(LoginFailed):
        Sessions(make_book()).open(sign_with_secret(secret, algorithm), AUDIENCE, AT)


def test_a_key_that_the_token_brings_along_does_not_count() -> None:
    """Nor does an address where it would be found, nor what would make the payload another one."""
    mine = make_key()
    public = ECKey.import_key(mine.private).as_dict(private=False)
    text = {"jku": f"https://{HOST}/keys", "x5u": "https://evil.example/"}
    for header in ({"jwk": public}, text, {"kid": public}, {"kid": None}, {"kid": "../key-1"}, {"kid": ["key-1"]}):
        head = encode({**HEADER, **header})
        key = load_der_private_key(mine.private, None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        signed = sign(mine).rpartition(".")[2]
        for token in (f"{head}.{encode(CLAIMS)}.{signed}", f"{head}.{encode(CLAIMS)}.", f"{head}..{signed}"):
            with pytest.raises(LoginFailed):
                Sessions(make_book()).open(token, AUDIENCE, AT)


def test_a_token_counts_under_the_name_of_its_own_key_alone() -> None:
    """Before and after a rotation: what one key has signed is not looked for with another."""
    both = Sessions(make_book(KEY, OTHER_KEY))
    for key in (KEY, OTHER_KEY):
        assert both.open(sign(key, kid=key.kid), AUDIENCE, AT)
    for key, kid in ((KEY, "key-2"), (OTHER_KEY, "key-1"), (make_key("key-3"), "key-3"), (make_key(), "key-1")):
        with pytest.raises(LoginFailed):
            both.open(sign(key, kid=kid), AUDIENCE, AT)


def test_keys_overlap_and_retire() -> None:
    """The youngest that has begun signs; what an older one has signed counts until that one retires, and no longer."""
    old, new = make_key("old", 0.0, AT + 100), make_key("new", AT + 50)
    sessions = Sessions(make_book(old, new))
    tokens = {at: sessions.seal(session(), [], at) for at in (AT, AT + 49, AT + 51)}
    kids = [json.loads(_decode(token.split(".")[0]))["kid"] for token in tokens.values()]
    assert kids == ["old", "old", "new"]
    for token in tokens.values():
        assert sessions.open(token, AUDIENCE, AT + 60)
    with pytest.raises(LoginLapsed, match="retired"):
        sessions.open(tokens[AT], AUDIENCE, AT + 100)
    assert sessions.open(tokens[AT + 51], AUDIENCE, AT + 100)


def test_a_session_lasts_no_longer_than_its_key() -> None:
    """Also for whoever remembers it, and looks at no key again."""
    sessions = Sessions(make_book(make_key("old", 0.0, AT + 100)))
    assert sessions.open(sessions.seal(session(), [], AT), AUDIENCE, AT).expires_at == AT + 100


def test_without_a_key_nobody_signs() -> None:
    """Not with one that has not begun, nor with one that has retired, nor with one that nobody has looked after."""
    stale = make_book()
    stale.clock = lambda: 1e6
    for book in (make_book(make_key(begins_at=AT + 1)), make_book(make_key(retires_at=AT)), stale):
        with pytest.raises(LoginUnavailable):
            Sessions(book).seal(session(), [], AT)
        with pytest.raises(LoginUnavailable):
            Sessions(book).hide({}, AT)


@pytest.mark.parametrize(
    ("claims", "error"),
    [
        ({"aud": tag("Another")}, LoginLapsed),
        ({"aud": [AUDIENCE]}, LoginLapsed),
        ({"aud": None}, LoginLapsed),
        ({"aud": ""}, LoginLapsed),
        ({"iss": "https://accounts.example"}, LoginLapsed),
        ({"iss": None}, LoginLapsed),
        ({"exp": AT}, LoginLapsed),
        ({"exp": AT - 1}, LoginLapsed),
        ({"iat": AT + SKEW + 1, "exp": AT + 7200}, LoginLapsed),
        ({"exp": "never"}, LoginFailed),
        ({"exp": None}, LoginFailed),
        ({"iat": "nan"}, LoginLapsed),
        ({"exp": "nan"}, LoginLapsed),
        ({"cnf": "x"}, LoginFailed),
        ({"cnf": {"jkt": "x"}}, LoginFailed),
        ({"cnf": {"x5t#S256": "é"}}, LoginFailed),
        ({"sub": ...}, LoginFailed),
        ({"idp": ...}, LoginFailed),
        ({"jti": ...}, LoginFailed),
        ({"exp": ...}, LoginFailed),
        ({"iat": ...}, LoginFailed),
    ],
    ids=str,
)
def test_what_is_signed_and_wrong_is_no_session(claims: Mapping[str, Any], error: type[Exception]) -> None:
    """Another application's, over, not begun, or incomplete; `...` stands for a claim that is not there."""
    said = {name: value for name, value in {**CLAIMS, **claims}.items() if value is not ...}
    with pytest.raises(error):
        Sessions(make_book()).open(sign(KEY, said), AUDIENCE, AT)


@pytest.mark.parametrize("kind", ["JWT", "at+jwt", "evaluation+jwt", "Session+JWT", ""])
def test_other_things_that_are_signed_with_the_key_are_no_sessions(kind: str) -> None:
    """Such as a question to somebody else, who could hand it in here."""
    with pytest.raises(LoginFailed, match="no session"):
        Sessions(make_book()).open(sign(KEY, typ=kind), AUDIENCE, AT)


def test_clocks_of_two_hosts_may_differ_by_a_minute() -> None:
    """And by no more."""
    token = Sessions(make_book()).seal(session(), [], AT)
    assert Sessions(make_book()).open(token, AUDIENCE, AT - SKEW)
    with pytest.raises(LoginLapsed):
        Sessions(make_book()).open(token, AUDIENCE, AT - SKEW - 1)


BOSS = User("Boss@Example.com", "other", subject="8")


@pytest.mark.parametrize(
    ("kind", "who", "ended"),
    [
        (SESSION, "session-1", {"mine"}),
        (PERSON, "stub:7", {"mine", "mine too"}),
        (PERSON, "other:8", {"boss's"}),
        (PERSON, "other:7", set()),
        (ADDRESS, "me@example.com", {"mine", "mine too"}),
        (ADDRESS, "boss@example.com", {"boss's"}),
        (ADDRESS, "", set()),
        (EVERYBODY, "", {"mine", "mine too", "boss's"}),
        (SESSION, "stub:7", set()),
    ],
)
def test_an_ended_session_counts_no_more(kind: str, who: str, ended: set[str]) -> None:
    """Those that began by then, of the one that was meant; whoever logs in again is let in."""
    book = make_book()
    sessions = Sessions(book)
    tokens = {
        "mine": sessions.seal(session(), [], AT),
        "mine too": sessions.seal(session(id="session-2"), [], AT),
        "boss's": sessions.seal(session(id="session-3", user=BOSS), [], AT),
    }
    later = {name: sessions.seal(session(id=f"{name} again", begun_at=AT + 2), [], AT + 2) for name in tokens}
    book.enter(endings=[Ending(kind, who, AT + 1, AT + 9999)])
    for name, token in tokens.items():
        if name in ended:
            with pytest.raises(LoginLapsed, match="ended"):
                sessions.open(token, AUDIENCE, AT + 2)
        else:
            assert sessions.open(token, AUDIENCE, AT + 2)
    assert all(sessions.open(token, AUDIENCE, AT + 2) for token in later.values())


def test_what_ends_a_session_at_the_moment_it_begins_ends_it() -> None:
    """Also if it began a part of a millisecond before: nothing is rounded up."""
    book = make_book()
    sessions = Sessions(book)
    token = sessions.seal(session(begun_at=AT + 0.0007), [], AT)
    book.enter(endings=[Ending(EVERYBODY, "", AT + 0.0008, AT + 9999)])
    with pytest.raises(LoginLapsed):
        sessions.open(token, AUDIENCE, AT + 1)


# --- Tampered with ----------------------------------------------------------------------------------------------------

TOKEN = seal(bound_to=PRINT)
SEALED = Sessions(make_book()).hide({"for": "a test"}, AT)


@pytest.mark.parametrize("claim", ["email", "sub", "idp", "aud", "exp", "iat", "jti", "amr", "facts", "cnf", "name"])
def test_a_changed_claim_breaks_the_signature(claim: str) -> None:
    """Each of them."""
    header, payload, signature = TOKEN.split(".")
    claims = json.loads(_decode(payload))
    for changed in ({**claims, claim: "boss@example.com"}, {key: claims[key] for key in claims if key != claim}):
        if changed != claims:
            with pytest.raises(LoginFailed):
                Sessions(make_book()).open(f"{header}.{encode(changed)}.{signature}", AUDIENCE, AT)


def test_half_a_token_is_none() -> None:
    """Wherever it was cut off, and whatever was put behind it."""
    sessions = Sessions(make_book())
    for end in range(len(TOKEN)):
        with pytest.raises(LoginFailed):
            sessions.open(TOKEN[:end], AUDIENCE, AT)
    for more in (".", ".x", "A", "=", " ", "\n", "\0", TOKEN):
        with pytest.raises(LoginFailed):
            sessions.open(TOKEN + more, AUDIENCE, AT)


_NESTED = [encode(b"[" * 700) + ".a.b", encode(b'{"kid":' * 140 + b"1" + b"}" * 140) + ".a.b", encode(b"[" * 6000)]


@pytest.mark.parametrize("text", ["", ".", "..", "....", "é", "\0", "\ud800", "x" * 100_000, "." * 900, *_NESTED])
def test_what_is_no_token_is_refused_and_nothing_else_happens(text: str) -> None:
    """Not even what would take a parser too deep."""
    sessions = Sessions(make_book())
    with pytest.raises(LoginFailed):
        sessions.open(text, AUDIENCE, AT)
    with pytest.raises(LoginLapsed):
        sessions.reveal(text)


def test_what_is_nested_too_deep_for_a_parser_is_refused_as_well() -> None:
    """How deep that is hangs on how deep the caller is already."""
    sessions, limit = Sessions(make_book()), sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 150)
    try:
        with pytest.raises(LoginFailed):
            sessions.open(_NESTED[0], AUDIENCE, AT)
        with pytest.raises(LoginLapsed):
            sessions.reveal(_NESTED[0])
    finally:
        sys.setrecursionlimit(limit)


def test_what_is_longer_than_any_is_not_even_read() -> None:
    """Anybody can send it, as often as they like."""
    sessions = Sessions(make_book())
    with patch.object(keyfob.login.sessions, "_read_kid", side_effect=AssertionError):
        with pytest.raises(LoginFailed):
            sessions.open("x" * (LARGEST + 1), AUDIENCE, AT)
        with pytest.raises(LoginLapsed):
            sessions.reveal("x" * (LARGEST_SEALED + 1))


@given(st.integers(0, 10_000), st.characters(max_codepoint=255), st.booleans())
def test_any_change_makes_a_text_that_nobody_has_written(place: int, new: str, inserts: bool) -> None:
    """The signature and the seal cover every character."""
    sessions = Sessions(make_book())
    for text, read in ((TOKEN, lambda each: sessions.open(each, AUDIENCE, AT)), (SEALED, sessions.reveal)):
        at = place % len(text)
        changed = text[:at] + new + text[at + (not inserts) :]
        if changed != text:
            with pytest.raises((LoginFailed, LoginLapsed)):
                read(changed)


# --- What a browser only carries --------------------------------------------------------------------------------------


def test_what_is_hidden_can_be_revealed_and_not_be_read() -> None:
    """By whoever has the keys, also after a rotation; nobody else learns what is in it."""
    book = make_book(KEY)
    text = Sessions(book).hide({"secret": "verifier-1"}, AT)
    assert "verifier-1" not in text
    assert b"verifier-1" not in b"".join(map(_decode, text.split(".")))
    book.enter(keys=[make_key("young", AT)])
    assert Sessions(book).reveal(text) == {"secret": "verifier-1"}
    with pytest.raises(LoginLapsed):
        Sessions(make_book(KEY._replace(seal=bytes(32)))).reveal(text)


def test_what_is_sealed_in_another_way_was_not_given_out_here() -> None:
    """Other algorithms, another key, too much, or something that is no table."""
    sessions = Sessions(make_book())
    seal = OctKey.import_key(KEY.seal)
    header = {"alg": "dir", "enc": "A256GCM", "kid": KEY.kid}

    def write(content: bytes, key: OctKey = seal, **changes: str) -> str:
        return jwe.encrypt_compact({**header, **changes}, content, key, algorithms=["dir", "A256KW", "A256GCM"])

    assert sessions.reveal(write(b'{"a": 1}')) == {"a": 1}
    wrong: list[Callable[[], str]] = [
        lambda: write(b'{"a": 1}', OctKey.import_key(bytes(32))),
        lambda: write(b'{"a": 1}', alg="A256KW"),
        lambda: write(b'{"a": 1}', kid="key-2"),
        lambda: write(b"[1]"),
        lambda: write(b"5"),
        lambda: write(b"{"),
        lambda: write(b"[" * 5000),
        lambda: write(b'{"a": "%s"}' % (b"x" * LARGEST_SEALED)),
        lambda: TOKEN,
    ]
    for make in wrong:
        with pytest.raises(LoginLapsed):
            sessions.reveal(make())
    with pytest.raises(LoginFailed):
        sessions.open(write(json.dumps(CLAIMS).encode()), AUDIENCE, AT)


def test_the_published_keys_are_public() -> None:
    """Nobody can sign with them, and everybody can verify; the youngest stands first."""
    published: Any = Sessions(make_book(KEY, make_key("young", AT))).publish()["keys"]
    assert [each["kid"] for each in published] == ["young", "key-1"]
    assert all(set(each) == {"kty", "crv", "x", "y", "kid", "use", "alg"} for each in published)
    said = jwt.decode(TOKEN, ECKey.import_key(published[1]), algorithms=["ES256"])
    assert said.claims["sub"] == "7"


# --- What is known of the person --------------------------------------------------------------------------------------

GROUPS = [{"okta": {"name": f"team {number}", "identity_provider_id": "stub"}} for number in range(24)]
ASKED = make_facts(*GROUPS)


def test_a_session_keeps_of_a_person_what_rules_name() -> None:
    """Groups, organizations, teams, claims and evaluations: those that hold, and none of the others."""
    urls = {"evaluate_url": "https://example.com/e", "keys_url": "https://example.com/k"}
    there = {"identity_provider_id": "stub"}
    rules: list[dict[str, Any]] = [
        {"gsuite": {"email": "team@example.com", **there}},
        {"azureAD": {"id": "finance", **there}},
        {"github-organization": {"name": "Acme", "team": "Ops", **there}},
        {"github-organization": {"name": "Else", **there}},
        {"oidc": {"claim_name": "role", "claim_value": "clerk", **there}},
        {"external_evaluation": urls},
    ]
    facts = make_facts(*rules)
    whole = ME._replace(
        groups=frozenset({"team@Example.com", "finance", "secret group"}),
        organizations={"acme": frozenset({"ops", "staff"}), "Hidden": frozenset()},
        claims={"role": frozenset({"clerk", "owner"}), "salary": frozenset({"1"})},
        evaluated=frozenset({("https://example.com/e", "https://example.com/k")}),
    )
    identity = person()._replace(user=whole)
    held = find_held(facts, REQUEST, identity)
    assert [fact for fact, _ in facts if fact not in held] == [Fact(FactKind.ORGANIZATION, "stub", "Else")]
    sessions = Sessions(make_book(), {AUDIENCE: [fact for fact, _ in facts]})
    token = sessions.seal(session(user=whole), held, AT)
    kept = sessions.open(token, AUDIENCE, AT).user
    assert kept == whole._replace(
        groups=frozenset({"team@example.com", "finance"}),
        organizations={"Acme": frozenset({"Ops"})},
        claims={"role": frozenset({"clerk"})},
    )
    again = person()._replace(user=kept)
    assert find_held(facts, REQUEST, again) == held
    assert "secret group" not in str(_decode(token.split(".")[1]))


def test_what_one_provider_says_is_not_true_of_anothers_people() -> None:
    """Also if a session said so: the fact belongs to a provider."""
    facts = [fact for fact, _ in ASKED]
    sessions = Sessions(make_book(), {AUDIENCE: facts})
    token = sessions.seal(session(user=ME._replace(provider="other")), facts, AT)
    assert sessions.open(token, AUDIENCE, AT).user.groups == frozenset()


def test_a_session_is_over_when_the_rules_ask_for_something_else() -> None:
    """A rule that excludes a group, or denies it, would otherwise let in whoever logged in before it was written."""
    facts = [fact for fact, _ in ASKED]
    token = Sessions(make_book(), {AUDIENCE: facts[:2]}).seal(session(), facts[:1], AT)
    same = Sessions(make_book(), {AUDIENCE: [facts[1], facts[0]]})
    assert same.open(token, AUDIENCE, AT).user.groups == {"team 0"}
    for changed in (facts[:3], facts[:1], [], facts[1:3]):
        with pytest.raises(LoginLapsed, match="ask for other things"):
            Sessions(make_book(), {AUDIENCE: changed}).open(token, AUDIENCE, AT)


def test_what_the_rules_ask_of_another_providers_people_changes_nothing() -> None:
    """Nor does what other applications ask, or handlers."""
    facts = [fact for fact, _ in ASKED]
    token = Sessions(make_book(), {AUDIENCE: facts[:1]}).seal(session(), [], AT)
    elsewhere = [fact for fact, _ in make_facts({"okta": {"name": "x", "identity_provider_id": "other"}})]
    later = Sessions(make_book(), {AUDIENCE: [facts[0], *elsewhere], tag("Other"): facts})
    later.know(facts)
    assert later.open(token, AUDIENCE, AT).user.groups == frozenset()


def test_no_two_facts_that_rules_could_name_stand_for_each_other() -> None:
    """Of thousands in every kind."""
    facts = [Fact(kind, "stub", f"name {number}", "value") for kind in FactKind for number in range(4000)]
    sessions = Sessions(make_book(), {AUDIENCE: facts})
    assert len(sessions._facts) == len(facts)


# --- As large as a cookie may be --------------------------------------------------------------------------------------


def test_the_longest_realistic_session_fits_into_one_kilobyte(capsys: pytest.CaptureFixture[str]) -> None:
    """An address, a subject and a name as long as people really have, three methods, a certificate, and 24 groups."""
    user = User(
        "maria.antonieta.von-hohenzollern.da-silva@accounting.subsidiary.example.com",
        "company-account-of-europe",
        frozenset({"pwd", "mfa", "hwk"}),
        subject="AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ-eu-west-1",
        name="Maria Antonieta von Hohenzollern da Silva e Sousa",
    )
    sessions = Sessions(make_book(make_key("Kq1-_x9Z")), {AUDIENCE: [fact for fact, _ in ASKED]})
    before = Session("QUJDREVGR0hJSktM", AUDIENCE, AT + 0.123, AT + 31 * 86_400, user, PRINT)
    token = sessions.seal(before, [fact for fact, _ in ASKED], AT)
    size = len(f"{name_session(AUDIENCE)}={token}")
    print(f"the largest: {size} octets")
    assert size <= LARGEST <= 1000
    assert sessions.open(token, AUDIENCE, AT)


def test_a_name_that_does_not_fit_is_left_out() -> None:
    """It is for show alone; everything else stays."""
    user = ME._replace(name="名" * 60, subject="s" * 300)
    sessions = Sessions(make_book())
    kept = sessions.open(sessions.seal(session(user=user), [], AT), AUDIENCE, AT).user
    assert kept == user._replace(name="")


def test_what_fits_into_no_cookie_is_no_session() -> None:
    """A browser would drop it without a word, and the login begin again and again."""
    facts = [Fact(FactKind.GROUP, "stub", f"team {number}") for number in range(100)]
    sessions = Sessions(make_book(), {AUDIENCE: facts})
    with pytest.raises(LoginFailed, match="larger than"):
        sessions.seal(session(), facts, AT)


def _decode(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
