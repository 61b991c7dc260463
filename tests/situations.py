"""What a rule is asked about in tests: a device, a person, a request; and what it answers."""

from typing import Any

from pydantic import ValidationError

from certificates import Pair, make_authority, make_leaf, make_name
from exchanges import make_request, make_scope
from keyfob.certificate import ClientCertificate
from keyfob.errors import Missing
from keyfob.policy import SELECTORS, Identity, Names, User, compile_rule
from keyfob.request import Request

# In the time of every certificate of `certificates`.
ROOT = make_authority()
AT = ROOT.certificate.not_valid_before_utc.timestamp() + 3 * 86_400
NOBODY = Identity(None, Missing("-"), ())


def ask_with(*headers: tuple[str, str], **scope: Any) -> Request:
    """A request, now, with these headers and whatever else a scope can hold."""
    pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    return make_request(make_scope(headers=pairs, **scope), AT)


REQUEST = ask_with()


def show(leaf: Pair, *issuers: Pair) -> Identity:
    """Whoever holds this certificate, verified by way of `issuers`, ROOT if none is given."""
    path = [issuer.certificate for issuer in issuers or (ROOT,)]
    return Identity(ClientCertificate(leaf.certificate, path), None, (leaf.pem,))


def device(*common_names: str, **others: Any) -> Identity:
    """A device with these common names; `others` are what `make_leaf` takes."""
    return show(make_leaf(ROOT, make_name(*common_names), **others))


def person(email: str = "me@example.com", provider: str = "id-1", **others: Any) -> Identity:
    """A person who has logged in, without a certificate."""
    return NOBODY._replace(user=User(email, provider, **others))


def judge(rule: dict[str, Any], identity: Identity = NOBODY, request: Request = REQUEST, **names: Any) -> bool | None:
    """What a rule answers; `names` are the fields of Names."""
    return compile_rule(rule, Names(**names)).test(request, identity)


def refuse(rule: dict[str, Any]) -> str:
    """Why a rule cannot be written so, and what would be right: message and hint in one text."""
    [(name, argument)] = rule.items()
    try:
        SELECTORS[name].argument.model_validate(argument)
    except ValidationError as error:
        found = error.errors(include_url=False)[-1]
        return f"{found['msg']} | {found.get('ctx', {}).get('hint', '')}"
    raise AssertionError(f"{rule} was taken")
