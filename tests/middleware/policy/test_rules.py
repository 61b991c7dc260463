"""policy.rules: include, require and exclude, with three answers to each."""

import itertools
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.policy import Identity, Rule, Rules
from keyfob.policy.rules import CERTAIN
from keyfob.request import Request
from situations import NOBODY, REQUEST, ask_with

Answer = bool | None
ANSWERS: Sequence[Answer] = (True, False, None)
# Every list of answers of up to two rules.
LISTS = [answers for count in range(3) for answers in itertools.product(ANSWERS, repeat=count)]


def fixed(answer: Answer) -> Rule:
    return Rule(str(answer), lambda request, identity: answer)


def make_rules(include: Iterable[Answer], require: Iterable[Answer], exclude: Iterable[Answer]) -> Rules:
    return Rules(*(tuple(map(fixed, answers)) for answers in (include, require, exclude)))


def settle(answers: Sequence[Answer]) -> Iterable[list[bool]]:
    """What the answers may turn out to be, with everything that nobody can tell once as a yes and once as a no."""
    choices = [[True, False] if answer is None else [answer] for answer in answers]
    return (list(each) for each in itertools.product(*choices))


@pytest.mark.parametrize("include", LISTS)
def test_rules_hold_only_if_they_do_whatever_nobody_can_tell(include: tuple[Answer, ...]) -> None:
    """The documented reading in two values, for every way in which the unknown could turn out."""
    for require, exclude in itertools.product(LISTS, LISTS):
        outcomes = {
            any(some) and all(every) and not any(none)
            for some, every, none in itertools.product(settle(include), settle(require), settle(exclude))
        }
        expected = outcomes.pop() if len(outcomes) == 1 else None
        assert make_rules(include, require, exclude).hold(REQUEST, NOBODY) is expected, (include, require, exclude)


def test_rules_without_include_hold_for_nobody() -> None:
    """Requiring is not including."""
    assert make_rules([], [True], []).hold(REQUEST, NOBODY) is False


# --- What is left to ask ----------------------------------------------------------------------------------------------

# A rule as data: what it answers to a GET and to a POST; the same for both where it does not look at the request.
STEADY = st.sampled_from(ANSWERS).map(lambda answer: (answer, answer, False))
LOOKING = st.tuples(st.sampled_from(ANSWERS), st.sampled_from(ANSWERS), st.just(value=True))
WRITTEN = st.lists(STEADY | LOOKING, max_size=3)


def make_rule(written: tuple[Answer, Answer, bool]) -> Rule:
    get, post, looks = written

    def test(request: Request, _: Identity) -> Answer:
        return get if request.method == "GET" else post

    return Rule(str(written), test, looks_at_request=looks)


@given(WRITTEN, WRITTEN, WRITTEN)
def test_what_is_left_answers_every_request_alike(
    include: list[tuple[Answer, Answer, bool]],
    require: list[tuple[Answer, Answer, bool]],
    exclude: list[tuple[Answer, Answer, bool]],
) -> None:
    """Also a request that looks different from the one that was there when the rest was asked."""
    rules = Rules(*(tuple(map(make_rule, each)) for each in (include, require, exclude)))
    requests = [ask_with(method=method) for method in ("GET", "POST")]
    for first in requests:
        left = rules.narrow(first, NOBODY)
        for request in requests:
            assert (False if left is None else left.hold(request, NOBODY)) is rules.hold(request, NOBODY)


def test_what_does_not_look_at_the_request_is_asked_once() -> None:
    """And where nothing else is asked, what is left is certain."""
    asked: list[str] = []

    def test(_: Request, __: Identity) -> bool:
        asked.append("")
        return True

    steady, looking = Rule("steady", test), Rule("looking", test, looks_at_request=True)
    left = Rules((steady,), (looking,), ()).narrow(REQUEST, NOBODY)
    assert left is not None
    assert left.hold(REQUEST, NOBODY) is True
    assert len(asked) == 2
    assert Rules((steady,), (steady,), ()).narrow(REQUEST, NOBODY) is CERTAIN


def test_every_rule_is_found() -> None:
    """Wherever it stands, in the order in which it is written."""
    rules = make_rules([True], [False], [None])
    assert [rule.text for rule in rules.each()] == ["True", "False", "None"]
