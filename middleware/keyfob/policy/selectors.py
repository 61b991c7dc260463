"""What a rule can ask, one table row each, in the JSON that Access's API uses."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, StringConstraints

from keyfob.policy.decision import Identity
from keyfob.request import Request

Test = Callable[[Request, Identity], bool]


class Argument(BaseModel):
    """What stands behind a selector's name."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Nothing(Argument):
    """`{}`: the selector needs no words."""


class CommonName(Argument):
    """One common name, compared exactly, letter case included."""

    common_name: Annotated[str, StringConstraints(min_length=1)]


def _everyone(_: Nothing) -> Test:
    return lambda request, identity: True


def _certificate(_: Nothing) -> Test:
    return lambda request, identity: identity.certificate is not None


def _common_name(argument: CommonName) -> Test:
    wanted = argument.common_name

    def test(_: Request, identity: Identity) -> bool:
        return identity.certificate is not None and identity.certificate.common_name == wanted

    return test


class Selector(NamedTuple):
    """One row: the model of its argument, how it becomes a test, how it is written, and what the test looks at.

    `needs_certificate`: it can only hold with a verified certificate. `looks_at_request`: two requests with the same
    certificate can differ in it, so its answer must not be remembered with the certificate.
    """

    argument: type[Argument]
    compile: Callable[[Any], Test]
    example: str
    needs_certificate: bool
    looks_at_request: bool


SELECTORS: Mapping[str, Selector] = {
    "everyone": Selector(Nothing, _everyone, "{ everyone = {} }", needs_certificate=False, looks_at_request=False),
    "certificate": Selector(
        Nothing, _certificate, "{ certificate = {} }", needs_certificate=True, looks_at_request=False
    ),
    "common_name": Selector(
        CommonName,
        _common_name,
        '{ common_name = { common_name = "Rhea Group" } }',
        needs_certificate=True,
        looks_at_request=False,
    ),
}
