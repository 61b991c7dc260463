"""NIST's path validation tests, judged by us: accepted is what NIST calls valid, and each exception has a reason."""

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from judges.pkits import ANCHOR, Case, find_authorities, find_end_entities, find_lists, find_messages, make_pem
from judges.pkits import read_cases as read
from keyfob.errors import CertificateError, KeyfobError
from keyfob.trust import Revocation, RevocationList, Roots, UnusableList, Verifier, read_crls, read_roots
from keyfob.trust.roots import UnusableRoots

# The suite's certificates begin in 2010 and end in 2030.
NOW = datetime(2020, 1, 1, tzinfo=UTC).timestamp()
ACCEPTED = "accepted"

# Each test that NIST calls valid and that we refuse, however it is arranged, by the reason why that is no loss.
STRICTER = {
    "DSA keys and SHA-1 prove nothing any more": "4.1.4 4.1.5",
    "a date before 2050 is a GeneralizedTime, which RFC 5280 section 4.1.2.5 forbids": "4.2.4",
    "names chain octet by octet: another case, other spaces or another string type are another authority": """
        4.3.3 4.3.4 4.3.5 4.3.10 4.3.11""",
    "the end entity is an authority itself, which is no device": "4.6.8 4.6.14 4.8.6 4.14.13",
    "a self-issued authority counts in a path's length": "4.6.15 4.6.17",
    "policies are not required here, so a critical extension about them is one that nobody understands": """
        4.9.1 4.9.2 4.9.4 4.9.6
        4.10.1 4.10.3 4.10.5 4.10.6 4.10.9 4.10.11 4.10.12 4.10.13 4.10.14
        4.11.2 4.11.4 4.11.7
        4.12.2 4.12.3 4.12.7 4.12.9""",
    "constraints on directory names are not evaluated; whoever is below one is refused": """
        4.13.1 4.13.4 4.13.5 4.13.6 4.13.11 4.13.14 4.13.18 4.13.19 4.13.27""",
    "constraints on URIs are not evaluated either": "4.13.34 4.13.36",
}

# Those that a file of roots and lists which can be obeyed exactly does not get as far as: it is refused at start-up.
REFUSED_AT_START = {
    "the signer of the list is no authority, and only those may stand beside a root": """
        4.4.19 4.5.6 4.14.28 4.14.29 4.14.30""",
    "one of two lists is of an issuer that nobody knows": "4.4.7",
    "delta lists are not read; the complete one takes a revocation back, which only a delta may": """
        4.15.2 4.15.5 4.15.7 4.15.8""",
}

# The same with the offending file left out, where that still costs the valid their way in.
REFUSED_WITHOUT = {
    "the list is of a signer that is no authority, so nobody covers the device": "4.4.19 4.5.6 4.14.28 4.14.29 4.14.30",
    "the complete list names the device, and the delta that takes it back is not read": "4.15.5",
}

# Each test that NIST calls invalid and that we accept.
POLICIES = {"policies are not required here, and no critical extension says that they are": "4.8.4 4.8.5 4.8.9 4.8.12"}
DELTAS = {"the revocation is in the delta alone, without which nobody starts": "4.15.4"}

# Invalid because of revocation alone: without lists there is nothing that says so.
BY_LISTS_ALONE = {
    "without lists nobody knows": """
    4.4.1 4.4.2 4.4.3 4.4.4 4.4.5 4.4.6 4.4.8 4.4.9 4.4.10 4.4.11 4.4.12 4.4.18 4.4.20 4.4.21
    4.5.2 4.5.5 4.5.7 4.7.4 4.7.5
    4.14.2 4.14.3 4.14.6 4.14.8 4.14.9 4.14.12 4.14.14 4.14.15 4.14.16 4.14.17 4.14.20 4.14.21 4.14.23 4.14.26
    4.14.27 4.14.31 4.14.32 4.14.34 4.14.35
    4.15.1 4.15.3 4.15.4 4.15.6 4.15.9 4.15.10"""
}


def numbers(*tables: dict[str, str]) -> set[str]:
    return {number for table in tables for row in table.values() for number in row.split()}


def find_differences(judge: Callable[[Case], str]) -> tuple[dict[str, str], dict[str, str]]:
    """What is refused though valid, and accepted though invalid: number and name, and what was said."""
    said = {case: judge(case) for case in read().values()}
    refused = {each.number: f"{each.name}: {it}" for each, it in said.items() if each.is_valid and it != ACCEPTED}
    accepted = {each.number: each.name for each, it in said.items() if not each.is_valid and it == ACCEPTED}
    return refused, accepted


def make_verifier(roots: Roots, lists: Iterable[RevocationList] | None) -> Verifier:
    """As the configuration makes it of one entry; `lists` None where it names none."""
    revocations = () if lists is None else (Revocation(tuple(lists)),)
    return Verifier(roots, {each.public_bytes(Encoding.DER): revocations for each in roots.anchors})


def verify(verifier: Verifier, device: bytes, sent: Iterable[bytes] = ()) -> str:
    """ACCEPTED, or why not."""
    try:
        verifier.verify([make_pem(each) for each in (device, *sent)], NOW)
    except CertificateError as error:
        return type(error).__name__
    return ACCEPTED


def read_lists(lists: Iterable[bytes], roots: Roots, folder: Path) -> Iterator[RevocationList]:
    for number, each in enumerate(lists):
        path = folder / f"{number}.crl"
        path.write_bytes(each)
        yield from read_crls(path, roots)


def read_usable_lists(lists: Iterable[bytes], roots: Roots, folder: Path) -> Iterator[RevocationList]:
    for each in lists:
        try:
            yield from read_lists([each], roots, folder)
        except UnusableList:
            continue


def split_usable(authorities: Iterable[bytes]) -> tuple[list[bytes], list[bytes]]:
    """Those that may stand in the file of a root, and those that may not."""
    usable, others = list[bytes](), list[bytes]()
    for each in authorities:
        try:
            read_roots(make_pem(each, ANCHOR).encode())
        except UnusableRoots:
            others.append(each)
        else:
            usable.append(each)
    return usable, others


def test_every_test_and_every_end_entity_of_the_suite_is_in_the_table() -> None:
    """223 certificates for 224 tests: one of them stands in two; nothing is passed over."""
    cases = read()
    assert {case.name for case in cases.values()} == find_end_entities()
    assert len(cases) == len(find_messages()) == len(find_end_entities()) + 1 == 224
    known = numbers(STRICTER, REFUSED_AT_START, REFUSED_WITHOUT, POLICIES, DELTAS, BY_LISTS_ALONE)
    assert known <= set(cases)
    assert all(cases[number].is_valid for number in numbers(STRICTER, REFUSED_AT_START, REFUSED_WITHOUT))
    assert not any(cases[number].is_valid for number in numbers(POLICIES, DELTAS, BY_LISTS_ALONE))


def test_as_configured_nothing_invalid_is_accepted(tmp_path: Path) -> None:
    """All authorities in the file of the root, and all lists named: what cannot be used is refused at start-up."""

    def judge(case: Case) -> str:
        try:
            roots = read_roots(make_pem(*case.authorities, ANCHOR).encode())
            lists = tuple(read_lists(case.lists, roots, tmp_path))
        except KeyfobError as error:
            return type(error).__name__
        return verify(make_verifier(roots, lists), case.device)

    refused, accepted = find_differences(judge)
    assert set(accepted) == numbers(POLICIES), accepted
    assert set(refused) == numbers(STRICTER, REFUSED_AT_START), refused


def test_what_can_be_used_judges_for_itself(tmp_path: Path) -> None:
    """Authorities that may not stand in the file are sent by the device, and lists that cannot be used are left out."""

    def judge(case: Case) -> str:
        usable, others = split_usable(case.authorities)
        roots = read_roots(make_pem(*usable, ANCHOR).encode())
        return verify(make_verifier(roots, read_usable_lists(case.lists, roots, tmp_path)), case.device, others)

    refused, accepted = find_differences(judge)
    assert set(accepted) == numbers(POLICIES, DELTAS), accepted
    assert set(refused) == numbers(STRICTER, REFUSED_WITHOUT), refused


def test_everything_at_once_is_judged_the_same(tmp_path: Path) -> None:
    """All of the suite's authorities and lists in one entry: no list vouches for another authority's devices."""
    usable, _ = split_usable(find_authorities())
    roots = read_roots(make_pem(*usable, ANCHOR).encode())
    lists = read_usable_lists((path.read_bytes() for path in find_lists()), roots, tmp_path)
    verifier = make_verifier(roots, lists)
    refused, accepted = find_differences(lambda case: verify(verifier, case.device))
    assert set(accepted) == numbers(POLICIES, DELTAS), accepted
    assert set(refused) == numbers(STRICTER, REFUSED_WITHOUT), refused


@pytest.mark.parametrize("where", ["file", "chain"])
def test_a_path_is_the_same_wherever_its_authorities_come_from(where: str) -> None:
    """From the file beside the root, or sent by the device in any order; without lists, what only they know is good."""

    def judge(case: Case, step: int) -> str:
        usable, others = split_usable(case.authorities) if where == "file" else ([], list(case.authorities))
        roots = read_roots(make_pem(*usable, ANCHOR).encode())
        return verify(make_verifier(roots, None), case.device, others[::step])

    for step in (1, -1):
        refused, accepted = find_differences(lambda case, step=step: judge(case, step))  # type: ignore[misc]
        assert set(accepted) == numbers(POLICIES, BY_LISTS_ALONE), accepted
        assert set(refused) == numbers(STRICTER), refused


def test_who_is_only_sent_has_nobody_to_vouch_for_its_devices(tmp_path: Path) -> None:
    """The signer of a list stands in the file; a list named without it is refused, and without a list nobody knows."""
    roots = read_roots(make_pem(ANCHOR).encode())

    def judge(case: Case) -> str:
        lists = read_usable_lists(case.lists, roots, tmp_path)
        return verify(make_verifier(roots, lists), case.device, case.authorities)

    straight = {case.number for case in read().values() if case.is_valid and not case.authorities}
    assert {case.number for case in read().values() if judge(case) == ACCEPTED} == straight
