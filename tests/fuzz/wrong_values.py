"""What can be wrong with the value of a certificate's header: bytes in, other bytes out."""

import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from hashlib import sha256
from random import Random

from fuzz.case import Case, flip_bit
from fuzz.proxies import INTERMEDIATE_DER, write_pem

_SPECIAL = [bytes([each]) for each in b"\0\t\n\v\f\r \x1b\x7f\x80\xa0\xff,;:=\"'\\%+/-_?#&<>()[]{}|"]
_SPECIAL += [
    b"\r\n",
    b"\r\n ",
    b"%00",
    b"%0A",
    b"%0a",
    b"%20",
    b"%",
    b"%2",
    b"%ZZ",
    b"%2B",
    b"\xe2\x80\xa8",
    b", ",
    b"; ",
]
_JOINTS = [b"", b",", b", ", b";", b"\n", b" ", b"%0A", b"%2C", b"\0"]


def _cut_points(case: Case, value: bytes) -> tuple[int, int]:
    one, other = case.random.randrange(len(value) + 1), case.random.randrange(len(value) + 1)
    return min(one, other), max(one, other)


def _bit(case: Case, value: bytes) -> bytes:
    return flip_bit(value, case.random)


def _truncated(case: Case, value: bytes) -> bytes:
    at = case.random.randrange(len(value) + 1)
    return case.random.choice([value[:at], value[at:], value[:-1], value[1:], value[:-3]])


def _cut_out(case: Case, value: bytes) -> bytes:
    start, end = _cut_points(case, value)
    return value[:start] + value[end:]


def _inserted(case: Case, value: bytes) -> bytes:
    at = case.random.choice(
        [0, len(value), case.random.randrange(len(value) + 1), case.random.randrange(len(value) + 1)]
    )
    return value[:at] + case.random.choice([*_SPECIAL, case.random.randbytes(3)]) + value[at:]


def _replaced(case: Case, value: bytes) -> bytes:
    at = case.random.randrange(len(value) + 1)
    return value[:at] + case.random.choice(_SPECIAL) + value[at + 1 :]


def _part_twice(case: Case, value: bytes) -> bytes:
    start, end = _cut_points(case, value)
    return value[:end] + value[start:end] + value[end:]


def _whole_twice(case: Case, value: bytes) -> bytes:
    return case.random.choice(_JOINTS).join([value] * case.random.choice([2, 2, 3]))


def _joined(case: Case, value: bytes) -> bytes:
    """Two devices in one value, as when a proxy appends, or a server merges two headers."""
    parts = [value, case.write_other()]
    case.random.shuffle(parts)
    return case.random.choice(_JOINTS).join(parts)


def _spliced(case: Case, value: bytes) -> bytes:
    """The beginning of one value and the end of another."""
    other, at = case.write_other(), case.random.randrange(len(value) + 1)
    return value[:at] + other[at if case.random.random() < 0.6 else case.random.randrange(len(other) + 1) :]


def _padded(case: Case, value: bytes) -> bytes:
    """Blanks around it, which HTTP allows, and others, which it does not."""
    blanks = [b"", b" ", b"\t", b"  \t", b" " * 40, b"\r", b"\n", b"\v", b"\xa0", b"\0", b"%20", b"%0A"]
    return case.random.choice(blanks) + value + case.random.choice(blanks)


def _quoted(case: Case, value: bytes) -> bytes:
    pattern = case.random.choice([b'"%b"', b"'%b'", b'"%b', b"<%b>", b"[%b]", b":%b:", b'"%b";q=1', b"(%b)"])
    return pattern % value


def _no_certificate(case: Case, _: bytes) -> bytes:
    nothing = [b"", b"(null)", b"::", b"<nil>", b"NONE", b"[]", b":", b"-", b"null", b"None", b"none", b'""', b":AA==:"]
    return case.random.choice([*nothing, b"%20", b"%0A%0A", b" (null) ", b"(null)" * 2, b" " * 30, b"%00"])


def _too_long(case: Case, value: bytes) -> bytes:
    filler = case.random.choice([b" ", b"A", b"%20", b",", value or b"x"])
    return case.random.choice([value + filler * (16384 // len(filler)), filler * (16500 // len(filler)) + value])


def _unescaped(case: Case, value: bytes) -> bytes:
    """Some of the percent-encoding undone, all of it, or the wrong one."""
    pairs = [
        (b"%0A", b"\n"),
        (b"%0A", b"\r\n"),
        (b"%20", b" "),
        (b"%20", b"+"),
        (b"%2B", b"+"),
        (b"%2F", b"/"),
        (b"%3D", b"="),
    ]
    pairs += [(b"%2B", b" "), (b"%0A", b" "), (b"%0A", b"%0D%0A"), (b"%0A", b"\t"), (b"%0A", b"\n "), (b"%0A", b"")]
    for before, after in case.random.sample(pairs, case.random.randrange(1, 5)):
        value = value.replace(before, after)
    return value


def _escaped_more(case: Case, value: bytes) -> bytes:
    """Percent-encoding of what needs none, of everything, or of what is escaped already."""
    match case.random.randrange(4):
        case 0:
            return value.replace(b"%", b"%25")
        case 1:
            return b"".join(b"%%%02X" % each for each in value)
        case 2:
            letter = bytes([case.random.choice(value or b"A")])
            return value.replace(letter, b"%%%02x" % letter[0])
        case _:
            return value.replace(b"A", b"%41").replace(b"-", b"%2d")


def _hex_case(case: Case, value: bytes) -> bytes:
    """RFC 3986 section 2.1: the letters' case in percent-encoding says nothing."""
    change = case.random.choice([bytes.lower, bytes.upper, bytes.swapcase])
    return re.sub(rb"%[0-9A-Fa-f]{2}", lambda match: change(match[0]), value)


def _percent_broken(case: Case, value: bytes) -> bytes:
    wrong = case.random.choice(
        [b"%+A", b"% A", b"%0x", b"%1_", b"%", b"%u000A", b"%A", b"%\xb20", b"%GG", b"%-1", b"%%0A"]
    )
    return value.replace(case.random.choice([b"%0A", b"%20", b"%2B"]), wrong, case.random.choice([-1, 1]))


_DIGITS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def _base64_tail(case: Case, value: bytes) -> bytes:
    """Bits behind the last byte, too little padding, or too much: what RFC 4648 section 3.5 warns of."""
    wrong = _mangle_tail(value, b"=", case.random)
    return wrong if wrong != value else _mangle_tail(value, b"%3D", case.random)


def _mangle_tail(value: bytes, sign: bytes, random: Random) -> bytes:
    at = value.rfind(sign)
    if at < 0:
        return value.replace(b"-----END", b"=-----END") if b"-----END" in value else value + b"="
    while value[at - len(sign) : at] == sign:
        at -= len(sign)
    match random.randrange(4):
        case 0:  # the unused bits of the last digit
            digit = _DIGITS.find(value[at - 1])
            return value[: at - 1] + _DIGITS[digit ^ 1 : (digit ^ 1) + 1] + value[at:]
        case 1:
            return value[:at] + value[at + len(sign) :]
        case 2:
            return value[:at] + sign + value[at:]
        case _:
            return value[:at] + value[at:].replace(sign, b"")


def _base64_alphabet(case: Case, value: bytes) -> bytes:
    """base64url, MIME lines, and characters that lax decoders skip."""
    match case.random.randrange(5):
        case 0:
            return value.replace(b"+", b"-").replace(b"/", b"_").replace(b"%2B", b"-").replace(b"%2F", b"_")
        case 1:
            return re.sub(rb"([A-Za-z0-9+/]{64})", rb"\1\n", value)
        case 2:
            return re.sub(rb"([A-Za-z0-9+/]{76})", rb"\1 ", value)
        case 3:
            return value.replace(b"A", case.random.choice([b"A!", b"A ", b"A\n", b"A=", b"A\0"]), 1)
        case _:
            return b64encode(value)


def _armour(case: Case, value: bytes) -> bytes:
    """Other labels, other dashes, headers inside, words around, armour where none is meant, or none where it is."""
    begin, end = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
    escaped = b"%20" in value
    labels = [
        b"TRUSTED CERTIFICATE",
        b"X509 CERTIFICATE",
        b"certificate",
        b"CERTIFICATE REQUEST",
        b"PKCS7",
        b"CERTIFICATE ",
    ]
    changes: list[tuple[bytes, bytes]] = [
        (begin + b"\n", begin),
        (begin, begin + b"\nProc-Type: 4,ENCRYPTED\n"),
        (begin, b"-----BEGIN CERTIFICATE----"),
        (begin, b"------BEGIN CERTIFICATE-----"),
        (begin, b"junk " + begin),
        (begin, b"\n \n" + begin),
        (begin, b""),
        (end, end + b" junk"),
        (end, end + b" \n\r\n"),
        (end, b""),
        (end, b"-----END CERTIFICATE----"),
        (end, b"\n\n\n" + end),
        (b"\n" + end, end),
        (b"\n", b"\r\n"),
        (b"\n", b"  \n "),
        (end, end + b"\n" + begin + b"\n" + end),
        *[(b"CERTIFICATE", label) for label in labels],
        (begin, begin.replace(b"CERTIFICATE", case.random.choice(labels))),
        (end, end.replace(b"CERTIFICATE", case.random.choice(labels))),
    ]
    before, after = case.random.choice(changes)
    if escaped:
        before, after = (_escape_blanks(text) for text in (before, after))
    elif b"BEGIN" in value:
        before, after = before.replace(b"\n", b" "), after.replace(b"\n", b" ")
    elif b":" not in value and b"=" not in value[:-2]:
        return _escape_blanks(write_pem(b64decode(value))) if _is_base64(value) else begin + value + end
    return value.replace(before, after)


def _escape_blanks(text: bytes) -> bytes:
    return text.replace(b" ", b"%20").replace(b"\n", b"%0A").replace(b"\r", b"%0D")


def _is_base64(value: bytes) -> bool:
    return re.fullmatch(rb"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?", value) is not None


def _sequence(case: Case, value: bytes) -> bytes:
    """What structured fields know besides a byte sequence, and what only looks like one."""
    text = value.strip(b":")
    wrong = [
        b":%b:;a=1",
        b":%b: ;a",
        b":%b",
        b"%b:",
        b"%b",
        b": %b:",
        b":%b :",
        b"::%b::",
        b'":%b:"',
        b"(:%b:)",
        b"?1;%b",
    ]
    wrong += [b"a=:%b:", b":%b:,", b",:%b:", b":%b:, :%b:", b" :%b: ", b"@%b", b"%%b"]
    pattern = case.random.choice(wrong)
    return pattern.replace(b"%b", text)


def _xfcc_pairs(case: Case, value: bytes) -> bytes:
    """Pairs repeated, left out, in another order, and taken over from another device."""
    other = case.write_other()
    ours, theirs = value.split(b";"), other.split(b";")
    random = case.random
    match random.randrange(5):
        case 0:
            ours.append(random.choice(ours))
        case 1:
            random.shuffle(ours)
        case 2:
            ours.insert(random.randrange(len(ours) + 1), random.choice(theirs))
        case 3:
            del ours[random.randrange(len(ours))]
        case _:
            ours[random.randrange(len(ours))] = random.choice(theirs)
    return b";".join(ours)


def _xfcc_chain(case: Case, value: bytes) -> bytes:
    """Chain in every wrong way: empty, of blanks, of somebody else, and with the leaf in the wrong place."""
    leaf, other = case.ders[0] if case.ders else b"", case.pick_other()
    chains = [[], [other], [leaf, other], [other, leaf], [INTERMEDIATE_DER, leaf], [leaf, leaf], [leaf] * 12]
    texts = [_escape_blanks(b"".join(map(write_pem, each))).replace(b"+", b"%2B") for each in chains]
    texts += [b"%20", b"%0A", b"NONE", b"(null)"]
    without = re.sub(rb';Chain="[^"]*"', b"", value)
    pair = case.random.choice([b';Chain="%b"', b";chain=%b", b';Chain="%b";Chain=""', b';CHAIN="%b'])
    return without + pair % case.random.choice(texts)


def _xfcc_words(case: Case, value: bytes) -> bytes:
    """Letter case, quotation marks, backslashes, and the fingerprint."""
    other = sha256(case.pick_other()).hexdigest().encode()
    changes = [
        (b"Cert=", b"cert="),
        (b"Hash=", b"HASH="),
        (b"Cert=", b"Cert ="),
        (b"Cert=", b"Cert=="),
        (b"Cert=", b"X-Cert="),
        (b'"', b""),
        (b'"', b"'"),
        (b'"', b'\\"'),
        (b'Cert="', b'Cert="\\'),
        (b"-----BEGIN", b"\\-\\-\\-\\-\\-BEGIN"),
        (b";", b"; "),
        (b";", b" ;"),
        (b";", b";;"),
        (b";", b","),
        (b"%", b"\\%"),
        (value[5:69], value[5:69].upper()),
        (value[5:69], other),
        (value[5:69], value[5:69] + b"0"),
        (value[5:69], b":".join(value[at : at + 2] for at in range(5, 69, 2))),
        (value[5:69], b64encode(value[5:69])),
    ]
    before, after = case.random.choice(changes)
    return value.replace(before, after, case.random.choice([1, -1])) if before else value


def _xfcc_elements(case: Case, value: bytes) -> bytes:
    """Other elements before or behind, as APPEND_FORWARD leaves them, and names that break out of their own pair."""
    other, random = case.write_other(), case.random
    name = b";URI=spiffe://a/b" + random.choice([b",", b";", b'"', b'";', b"\\", b'\\",', b'",']) + other
    return random.choice(
        [value + b"," + other, other + b"," + value, value + name, other + name, b"," + value, value + b","]
    )


VALUES: dict[str, Callable[[Case, bytes], bytes]] = {
    "value: a bit": _bit,
    "value: truncated": _truncated,
    "value: cut out": _cut_out,
    "value: inserted": _inserted,
    "value: replaced": _replaced,
    "value: a part twice": _part_twice,
    "value: all of it twice": _whole_twice,
    "value: joined": _joined,
    "value: spliced": _spliced,
    "value: padded": _padded,
    "value: in quotes": _quoted,
    "value: none": _no_certificate,
    "value: too long": _too_long,
    "percent: undone": _unescaped,
    "percent: more": _escaped_more,
    "percent: letter case": _hex_case,
    "percent: broken": _percent_broken,
    "base64: tail": _base64_tail,
    "base64: alphabet": _base64_alphabet,
    "pem: armour": _armour,
    "sequence": _sequence,
    "xfcc: pairs": _xfcc_pairs,
    "xfcc: chain": _xfcc_chain,
    "xfcc: words": _xfcc_words,
    "xfcc: elements": _xfcc_elements,
}
