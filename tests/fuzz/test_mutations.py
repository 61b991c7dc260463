"""Two hundred thousand wrong requests made of right ones: nobody gets in as somebody else, and nothing breaks.

A failure prints the case's seed and its headers; `make_case` of `mutations` makes it again. KEYFOB_FUZZ_CASES in the
environment asks for another number of cases a format.
"""

import os
from collections import Counter

import pytest

from fuzz.case import Case
from fuzz.gates import ask, make_gate
from fuzz.mutations import KINDS, make_case
from fuzz.proxies import EVERYBODY, PROXIES, find_device
from keyfob.errors import HeaderError, Reason
from keyfob.policy import Allow, Decision
from keyfob.sources.formats import FORMATS
from keyfob.sources.headers import LARGEST_CERTIFICATE

TOTAL = 200_000
CASES = int(os.environ.get("KEYFOB_FUZZ_CASES", -(-TOTAL // len(FORMATS))))

REFUSED_EARLY = "refused before it was decoded"
NOT_DECODED = "refused as undecodable"
NO_CERTIFICATE = "refused as no certificate"
NOT_VERIFIED = "refused by the verifier"
ADMITTED = "admitted as what it is"


def describe(decision: Decision) -> str:
    """How far it got."""
    if isinstance(decision, Allow):
        return ADMITTED
    if decision.identity.presented:
        return NO_CERTIFICATE if decision.reason is Reason.CERTIFICATE_MALFORMED else NOT_VERIFIED
    told = decision.identity.error
    return NOT_DECODED if isinstance(told, HeaderError) and ": " in told.message else REFUSED_EARLY


def find_escape(case: Case, decision: Allow) -> str:
    """Why this request should not have been let in; empty if it should."""
    assert decision.identity.certificate is not None
    der, proxy = decision.identity.certificate.der, case.proxy
    plain = [name.lower().replace(b"_", b"-").replace(b".", b"-") for name, _ in case.headers]
    if any(each in proxy.own and name != each for each, (name, _) in zip(plain, case.headers, strict=True)):
        return "a header comes under an alias"
    if any(plain.count(name) != 1 for name in proxy.own - {proxy.chain}):
        return "a header comes twice, or not at all"
    said = dict(case.headers)
    if any(said[name].strip(b" \t") != good for name, good in proxy.proofs):
        return "the proxy did not vouch for it"
    if len(said[proxy.header].strip(b" \t")) > LARGEST_CERTIFICATE:
        return "the header is too long"
    if find_device(proxy.encoding, said[proxy.header]) != der:
        return "the header is not this certificate"
    return "" if der in case.origins else f"{EVERYBODY[der]} did not go into it"


# Negative serial numbers and the like are only warned of, and in production a warning stops nothing.
@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
@pytest.mark.parametrize("name", FORMATS)
def test_no_mutation_lets_anybody_in_as_somebody_else(name: str) -> None:
    """Whoever is admitted has sent exactly one issued certificate, and is admitted as that; nothing raises."""
    gate, outcomes, kinds = make_gate(FORMATS[name]), Counter[str](), Counter[str]()
    for number in range(CASES):
        case = make_case(name, number)
        try:
            decision = ask(gate, case.headers, recorded=number % 2 == 0)
        except Exception as error:
            raise AssertionError(f"{error!r} escaped from {case}") from error
        outcome = describe(decision)
        outcomes[outcome] += 1
        kinds.update(case.kinds or ["none"])
        if isinstance(decision, Allow):
            escape = find_escape(case, decision)
            assert not escape, f"{escape}: {case}"
        elif not case.kinds:
            # Unchanged, so that it is a stranger's, or a name in it breaks out of its place.
            assert find_device(case.proxy.encoding, case.value) is None, f"{decision.reason}: {case}"
    print(name, dict(outcomes), min(kinds.values()))
    assert_honest(name, outcomes, kinds)


def assert_honest(name: str, outcomes: Counter[str], kinds: Counter[str]) -> None:
    """Fails if these cases would not have found much: every kind of mutation, and every depth, has its share."""
    cases = sum(outcomes.values())
    decoded = cases - outcomes[REFUSED_EARLY] - outcomes[NOT_DECODED]
    assert set(KINDS[name]) <= set(kinds)
    assert min(kinds.values()) > cases / 500
    assert decoded > cases / 5
    assert outcomes[NOT_DECODED] > cases / 10
    assert outcomes[NO_CERTIFICATE] > cases / 50
    assert outcomes[NOT_VERIFIED] > cases / 20
    assert outcomes[ADMITTED] > cases / 50


def test_the_cases_are_as_many_as_promised() -> None:
    """Unless somebody asked for another number."""
    assert "KEYFOB_FUZZ_CASES" in os.environ or CASES * len(FORMATS) >= TOTAL


def test_every_format_is_fuzzed() -> None:
    """With the headers that it looks at, as they are known here independently."""
    assert set(PROXIES) == set(FORMATS)
    for name, proxy in PROXIES.items():
        form = FORMATS[name]
        assert {each.encode() for each in form.headers} == proxy.own
        assert {key.encode(): good.encode() for key, good in form.proofs.items()} == dict(proxy.proofs)


def test_a_case_can_be_had_again() -> None:
    """The seed alone makes the same headers."""
    for name in FORMATS:
        assert [str(make_case(name, number)) for number in range(50)] == [str(make_case(name, n)) for n in range(50)]
