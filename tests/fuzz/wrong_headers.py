"""What can be wrong with the headers around a value: a list that changes in place."""

from base64 import b64encode
from collections.abc import Callable
from random import Random

from fuzz.case import Case
from fuzz.proxies import INTERMEDIATE_DER, PROXIES, ROOT_DER


def _take(case: Case, name: bytes) -> bytes:
    """Takes the first header of this name away; an earlier mutation may have given it another name."""
    at = next((at for at, (each, _) in enumerate(case.headers) if each == name), None)
    return b"" if at is None else case.headers.pop(at)[1]


def _put(case: Case, name: bytes, value: bytes) -> None:
    case.headers.insert(case.random.randrange(len(case.headers) + 1), (name, value))


def _alias(name: bytes, random: Random) -> bytes:
    wrong = [
        name.replace(b"-", b"_"),
        name.replace(b"-", b"."),
        name.replace(b"-", b"_", 1),
        name.upper(),
        name.title(),
    ]
    return random.choice([each for each in wrong if each != name])


def _twice(case: Case) -> None:
    _put(case, case.proxy.header, case.random.choice([case.value, case.write_other(), b"", b"(null)"]))


def _alias_beside(case: Case) -> None:
    name = case.random.choice(sorted(case.proxy.own))
    value = case.write_other() if name == case.proxy.header else dict(case.proxy.proofs).get(name, b"")
    _put(case, _alias(name, case.random), value)


def _alias_instead(case: Case) -> None:
    at = case.random.randrange(len(case.headers))
    name, value = case.headers[at]
    case.headers[at] = (_alias(name, case.random), value)


def _other_format(case: Case) -> None:
    """Everything that another proxy would write, beside what ours wrote."""
    other = PROXIES[case.random.choice(sorted(PROXIES))]
    if not other.own & case.proxy.own:
        for header in other.write_headers(case.random, [case.pick_other()], case.write_other()):
            _put(case, *header)


def _renamed(case: Case) -> None:
    """A name with something in it that no name may have."""
    at = case.random.randrange(len(case.headers))
    name, value = case.headers[at]
    wrong = case.random.choice([b"\n", b"\0", b" ", b":", b"\xff", b"\t"])
    case.headers[at] = (case.random.choice([name + wrong, wrong + name, name[:3] + wrong + name[3:]]), value)


_VERDICTS = [
    b"",
    b"success",
    b"Success",
    b"SUCCESS,SUCCESS",
    b"SUCCESS\0",
    b"SUCCESS\r",
    b"xSUCCESS",
    b"SUCCESS ",
    b"\tSUCCESS",
]
_VERDICTS += [
    b"NONE",
    b"FAILED",
    b"FAILED:certificate has expired",
    b"FAILED:SUCCESS",
    b"GENEROUS",
    b"PASSTHROUGH",
    b'"SUCCESS"',
]
_VERDICTS += [
    b"0",
    b"1",
    b"00",
    b"+0",
    b"-0",
    b"0x0",
    b"0,0",
    b"21",
    b"10",
    b"true",
    b"false",
    b"TRUE",
    b"True",
    b"\xef\xbc\x90",
    b"yes",
]


def _verdict(case: Case) -> None:
    name = case.random.choice(case.proxy.proofs)[0]
    _take(case, name)
    _put(case, name, case.random.choice(_VERDICTS))


def _verdict_missing(case: Case) -> None:
    _take(case, case.random.choice(case.proxy.proofs)[0])


def _verdict_twice(case: Case) -> None:
    name, good = case.random.choice(case.proxy.proofs)
    _put(case, name, case.random.choice([good, *_VERDICTS]))


def _chain_header(case: Case) -> None:
    """The chain's header may repeat, but everything in it has to be certificates."""
    text = b":%b:" % b64encode(case.random.choice([INTERMEDIATE_DER, ROOT_DER, case.pick_other(), b"junk"]))
    odd = [
        text,
        text + b"," + text,
        text + b";a=1",
        text + b",",
        b"",
        b":",
        b"::",
        text[:-1],
        b"(" + text + b")",
        b",",
        b"x",
    ]
    for _ in range(case.random.randrange(1, 4)):
        _put(case, case.proxy.chain, case.random.choice(odd))


def _chain_moved(case: Case) -> None:
    """The device's certificate in the chain's header alone, or another's in the place of its own."""
    _put(case, case.proxy.chain, _take(case, case.proxy.header))
    if case.random.random() < 0.5:
        _put(case, case.proxy.header, case.random.choice([b"", b"::", case.write_other()]))


HEADERS: dict[str, Callable[[Case], None]] = {
    "headers: twice": _twice,
    "headers: an alias beside": _alias_beside,
    "headers: an alias instead": _alias_instead,
    "headers: another format": _other_format,
    "headers: renamed": _renamed,
    "verdict: another": _verdict,
    "verdict: missing": _verdict_missing,
    "verdict: twice": _verdict_twice,
    "chain header: odd": _chain_header,
    "chain header: moved": _chain_moved,
}
