"""OpenID Connect: a provider that says who it is in a signed token, found by its issuer alone."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote_plus

from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri, prepare_token_request
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from pydantic_core import PydanticCustomError

from keyfob.errors import KeyfobError, LoginFailed, LoginUnavailable
from keyfob.login.exchanges import Fetch, Fetched, Steps
from keyfob.login.journeys import Journey
from keyfob.login.providers.discovery import Metadata, is_issuer, locate, read_document, read_metadata
from keyfob.login.providers.documents import Kept
from keyfob.login.providers.idtoken import Expected, open_token, read_head, read_methods
from keyfob.login.providers.keys import VerificationKey, choose_key, read_keys
from keyfob.login.providers.oauth import quote, read_code, read_object, read_token
from keyfob.policy import Fact, FactKind, User
from keyfob.policy.selectors.texts import read_address

# How many values of a claim are looked at: somebody is in a thousand groups, and nobody in a hundred thousand.
MOST_VALUES = 10_000
_LONGEST_NAME, _LONGEST_ADDRESS = 200, 254
# What belongs together, and comes from one document.
_ADDRESS = frozenset({"email", "email_verified"})
# RFC 6749 section 5.2: it is not the code that is wrong, but we.
_UNKNOWN = frozenset({"invalid_client", "unauthorized_client"})


class OpenIDConnect:
    """Any provider with OpenID Connect Discovery, at an `issuer` such as `https://id.example.com`.

    `scopes` are asked for beside `openid`. A mail address is taken from the claim `email` where the provider says that
    it has verified it, and with `trust_email` without its word, from the claim `email_claim_name` then. `authority` is
    the path of a PEM file of CAs to trust instead of the system's. Raises KeyfobError for settings that cannot be
    obeyed.
    """

    kind = "oidc"
    # The prompt by which somebody can log in as another person; where it is empty, the provider says which it has.
    afresh = ""
    # The claim in which the groups are; empty where none of them has all.
    groups_claim = ""
    # Whether what the ID token lacks is asked for once more.
    asks_again = True

    def __init__(
        self,
        *,
        id: str,  # noqa: A002 - what the configuration calls it
        name: str,
        client_id: str,
        client_secret: str,
        issuer: str,
        scopes: Sequence[str] = ("profile", "email"),
        email_claim_name: str = "email",
        trust_email: bool = False,
        authority: str = "",
    ) -> None:
        if not is_issuer(issuer):
            raise KeyfobError(f"{issuer!r} is no issuer", 'write it as the provider does, "https://id.example.com"')
        if email_claim_name != "email" and not trust_email:
            message = f"no provider says whether an address in {email_claim_name!r} is verified, but in 'email' alone"
            raise KeyfobError(message, "write trust_email = true if all that it says there can be believed")
        self.id, self.name = id, name
        self.issuer, self.authority = issuer, authority
        self._client_id, self._client_secret = client_id, client_secret
        self._scopes, self._email_claim, self._trust_email = tuple(scopes), email_claim_name, trust_email
        self._metadata: Kept[Metadata] = Kept(
            f"the description of {name}", authority, lambda answer: read_metadata(answer, issuer, name)
        )
        self._keys: Kept[tuple[VerificationKey, ...]] = Kept(
            f"the keys of {name}", authority, lambda answer: read_keys(answer, name)
        )

    # --- There --------------------------------------------------------------------------------------------------------

    def begin(self, journey: Journey, state: str, named: frozenset[Fact], *, afresh: bool) -> Steps[str]:
        """The address of the provider's own page (OpenID Connect Core 1.0, section 3.1.2.1)."""
        metadata = yield from self._metadata.find(locate(self.issuer), journey.begun_at)
        more = self.find_parameters()
        if afresh:
            more["prompt"] = self.afresh or ("select_account" if "select_account" in metadata.prompts else "login")
        address: str = prepare_grant_uri(
            metadata.authorization,
            self._client_id,
            "code",
            redirect_uri=journey.callback,
            scope=" ".join(dict.fromkeys(("openid", *self.find_scopes(named, metadata)))),
            state=state,
            nonce=journey.nonce,
            code_challenge=create_s256_code_challenge(journey.verifier),  # type: ignore[no-untyped-call]
            code_challenge_method="S256",
            **more,
        )
        return address

    def find_scopes(self, named: frozenset[Fact], metadata: Metadata) -> Sequence[str]:
        """What is asked for beside `openid`, given the facts that rules name."""
        return self._scopes

    def find_parameters(self) -> dict[str, str]:
        """What else the provider is told when it is asked to log somebody in."""
        return {}

    # --- And back -----------------------------------------------------------------------------------------------------

    def finish(self, journey: Journey, said: Mapping[str, str], named: frozenset[Fact], at: float) -> Steps[User]:
        """Who it is: the ID token says so, and more about it what it can be exchanged for."""
        metadata = yield from self._metadata.find(locate(self.issuer), at)
        self._check_sender(said, metadata)
        code = read_code(said, self.name)
        found = yield from self._redeem(code, journey, metadata)
        access = read_token(found, self.name)
        claims = yield from self._open(found.get("id_token"), access, journey, metadata, at)
        self.check(claims)
        if self.asks_again and metadata.userinfo and self._lacks(claims, named):
            claims = self._join(claims, (yield from self._ask_more(metadata.userinfo, access, claims["sub"])))
        groups = yield from self.find_groups(claims, access, named)
        name = claims.get("name")
        return User(
            email=self.find_email(claims),
            provider=self.id,
            methods=read_methods(claims),
            groups=groups,
            claims=_pick_claims(claims, named),
            subject=self.find_subject(claims),
            name=name[:_LONGEST_NAME] if isinstance(name, str) and name.isprintable() else "",
        )

    def check(self, claims: Mapping[str, Any]) -> None:
        """What has to be so beside what the standard asks for. Raises LoginFailed."""

    def find_subject(self, claims: Mapping[str, Any]) -> str:
        """What the provider calls the person, and nobody else ever."""
        return str(claims["sub"])

    def find_email(self, claims: Mapping[str, Any]) -> str:
        """The address, if it can be relied on; empty otherwise. Some write the truth as a text."""
        verified = claims.get("email_verified")
        is_verified = verified is True or verified == "true"
        return pick_address(claims.get(self._email_claim)) if is_verified or self._trust_email else ""

    def find_groups(self, claims: Mapping[str, Any], access: str, named: frozenset[Fact]) -> Steps[frozenset[str]]:
        """The groups that the person is in, as far as rules name any."""
        yield from ()
        return frozenset()

    def _check_sender(self, said: Mapping[str, str], metadata: Metadata) -> None:
        """RFC 9207 section 2.4: whose answer it is, where the provider says so."""
        issuer = said.get("iss")
        if issuer is None and metadata.names_itself:
            raise LoginFailed(f"{self.name} did not say that the answer is its own, as it does always")
        if issuer is not None and issuer != self.issuer:
            raise LoginFailed(f"the answer is another issuer's: {quote(issuer)}")

    def _redeem(self, code: str, journey: Journey, metadata: Metadata) -> Steps[dict[str, Any]]:
        """RFC 6749 section 4.1.3, with the proof of RFC 7636 that it is we who asked for the code."""
        body = prepare_token_request(
            "authorization_code", redirect_uri=journey.callback, code=code, code_verifier=journey.verifier
        )
        headers = {"accept": "application/json", "content-type": "application/x-www-form-urlencoded"}
        pair, way = (self._client_id, self._client_secret), "client_secret_post"
        if metadata.takes_basic:
            # RFC 6749 section 2.3.1: both are encoded as in a form before they are joined.
            pair, way = (quote_plus(pair[0]), quote_plus(pair[1])), "client_secret_basic"
        client = ClientAuth(*pair, way)
        url, shown, body = client.prepare("POST", metadata.token, {}, body)  # type: ignore[no-untyped-call]
        answer: Fetched = yield Fetch("POST", url, {**headers, **shown}, body.encode("ascii"), self.authority)
        if answer.status in {400, 401, 403}:
            found = read_object(answer, self.name)
            said = f"{quote(found.get('error'))}: {quote(found.get('error_description', ''))}"
            hint = (
                "are client_id and the secret right, and is it still valid?" if found.get("error") in _UNKNOWN else ""
            )
            raise LoginFailed(f"{self.name} does not take the code: {said}", hint)
        return read_document(answer, self.name, "token")

    def _open(
        self, token: object, access: str, journey: Journey, metadata: Metadata, at: float
    ) -> Steps[dict[str, Any]]:
        if not isinstance(token, str):
            raise LoginFailed(f"{self.name} gave no ID token")
        head = read_head(token)
        keys = yield from self._keys.find(metadata.keys, at)
        key = choose_key(keys, head.kid, head.algorithm)
        if key is None:
            # It may have new ones (OpenID Connect Core 1.0, section 10.1.1).
            keys = yield from self._keys.find(metadata.keys, at, again=True)
            key = choose_key(keys, head.kid, head.algorithm)
        if key is None:
            raise LoginFailed(f"{self.name} publishes no key {quote(head.kid)} for {head.algorithm.name}")
        return open_token(token, head, key, Expected(self.issuer, self._client_id, journey.nonce, access, at))

    def _lacks(self, claims: Mapping[str, Any], named: frozenset[Fact]) -> bool:
        """Whether something is not there that another request may bring."""
        wanted = {fact.name for fact in named if fact.kind is FactKind.CLAIM} | {self._email_claim}
        if not self._trust_email:
            wanted.add("email_verified")
        if self.groups_claim and name_groups(named):
            wanted.add(self.groups_claim)
        return any(name not in claims for name in wanted)

    def _ask_more(self, url: str, access: str, subject: object) -> Steps[dict[str, Any]]:
        """Section 5.3: what else there is to know, if it is about the same person."""
        answer = yield from self.ask("GET", url, access)
        found = read_document(answer, self.name, "account of a person")
        if found.get("sub") != subject:
            raise LoginFailed(f"{self.name} told about somebody else")
        return found

    def _join(self, claims: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
        """Both, where the ID token is not overruled. Of an address that one of them tells, it says what it is worth."""
        joined = {**more, **claims}
        if not self._trust_email and not claims.keys() >= _ADDRESS:
            joined |= {name: more.get(name) for name in _ADDRESS}
        return joined

    def ask(self, method: str, url: str, access: str, body: bytes = b"") -> Steps[Fetched]:
        """The answer to a request with the person's access token (RFC 6750 section 2.1)."""
        headers = {"accept": "application/json", "authorization": f"Bearer {access}"}
        if body:
            headers["content-type"] = "application/json"
        answer: Fetched = yield Fetch(method, url, headers, body, self.authority)
        return answer


def pick_address(text: object) -> str:
    """A mail address that rules can be held against; empty for anything else. RFC 5321 has room for 254 letters."""
    try:
        address = read_address(text)
    except PydanticCustomError:
        return ""
    return address if len(address) <= _LONGEST_ADDRESS else ""


def name_groups(named: frozenset[Fact]) -> list[str]:
    """The groups that rules name, in their order."""
    return sorted({fact.name for fact in named if fact.kind is FactKind.GROUP})


def read_values(found: object) -> Iterator[str]:
    """The values of a claim: texts, numbers and truth values, alone or in a list."""
    for each in (found if isinstance(found, list) else [found])[:MOST_VALUES]:
        if isinstance(each, bool):
            yield "true" if each else "false"
        elif isinstance(each, str | int | float):
            yield str(each)


def _pick_claims(claims: Mapping[str, Any], named: frozenset[Fact]) -> Mapping[str, frozenset[str]]:
    wanted = {fact.name for fact in named if fact.kind is FactKind.CLAIM} & claims.keys()
    return {name: frozenset(read_values(claims[name])) for name in wanted}


def require_answer(answer: Fetched, who: str, hint: str) -> dict[str, Any]:
    """What a further service says. Raises LoginFailed where it needs another permission, LoginUnavailable otherwise."""
    if answer.status in {401, 403}:
        raise LoginFailed(f"{who} does not say which groups somebody is in: {answer.status}", hint)
    if answer.status != 200:
        raise LoginUnavailable(f"{who} answers {answer.status} where groups should be")
    return read_object(answer, who)
