"""What can be wrong with the certificates of a case: lists of DER, the leaf first, that change in place."""

from collections.abc import Callable

from fuzz.case import Case, flip_bit
from fuzz.issued import DEVICES, write_der
from fuzz.proxies import INTERMEDIATE_DER, write_pem

_PHONE = write_der(DEVICES["phone"])


def _der_bit(case: Case) -> None:
    case.ders[0] = flip_bit(case.ders[0], case.random)


def _der_signature_bit(case: Case) -> None:
    leaf = case.ders[0]
    case.ders[0] = flip_bit(leaf, case.random, max(len(leaf) - 64, 0))


def _der_content_bit(case: Case) -> None:
    """Behind the outer lengths and the version, where most bits leave something that still parses."""
    case.ders[0] = flip_bit(case.ders[0], case.random, 13, 30)


def _der_byte(case: Case) -> None:
    leaf = bytearray(case.ders[0] or b"\0")
    leaf[case.random.randrange(len(leaf))] = case.random.randrange(256)
    case.ders[0] = bytes(leaf)


def _der_cut(case: Case) -> None:
    case.ders[0] = case.ders[0][: case.random.randrange(len(case.ders[0]) or 1)]


def _der_appended(case: Case) -> None:
    case.ders[0] += case.random.choice(
        [b"\0", b"\0\0", b"\x05\x00", b"\n", case.random.randbytes(5), case.pick_other()]
    )


def _der_renamed(case: Case) -> None:
    """Another common name of the same length, under the old signature."""
    case.ders[0] = (
        case.ders[0].replace(b"phone", b"watch") if b"phone" in case.ders[0] else _PHONE.replace(b"ph", b"wa")
    )


def _der_grafted(case: Case) -> None:
    """What one certificate says, with the signature of another."""
    leaf, other = case.ders[0], case.pick_other()
    at = case.random.choice([68, 70, 71, 72, 100, 150])
    case.ders[0] = leaf[:-at] + other[-at:]


def _der_extended(case: Case) -> None:
    """Bytes put into the middle, and the outer length told."""
    body, random = case.ders[0][4:], case.random
    at = random.randrange(len(body) + 1)
    body = body[:at] + random.randbytes(random.randrange(1, 4)) + body[at:]
    case.ders[0] = b"\x30\x82" + len(body).to_bytes(2, "big") + body


def _der_lax(case: Case) -> None:
    """BER where DER is asked for: lengths that are indefinite, or longer than need be."""
    body = case.ders[0][4:]
    length = len(body).to_bytes(2, "big")
    case.ders[0] = case.random.choice(
        [b"\x30\x80" + body + b"\0\0", b"\x30\x83\0" + length + body, b"\x30\x84\0\0" + length + body]
    )


def _der_no_certificate(case: Case) -> None:
    case.ders[0] = case.random.choice(
        [b"", b"\0", b"\x30\x00", b"\x30\x80\0\0", b"null", case.random.randbytes(64), write_pem(case.ders[0])]
    )


def _build_tower(floors: int) -> bytes:
    """Sequences in sequences."""
    body = b""
    for _ in range(floors):
        size = len(body)
        body = b"\x30" + (bytes([size]) if size < 128 else b"\x82" + size.to_bytes(2, "big")) + body
    return body


_TOWERS = [_build_tower(floors) for floors in (50, 200, 1000, 2500)]


def _der_tower(case: Case) -> None:
    case.ders[0] = case.random.choice(_TOWERS)


def _chain_reversed(case: Case) -> None:
    case.ders.reverse()


def _chain_shuffled(case: Case) -> None:
    case.ders.extend([case.pick_other(), INTERMEDIATE_DER])
    case.random.shuffle(case.ders)


def _chain_other_first(case: Case) -> None:
    case.ders.insert(0, case.pick_other())


def _chain_other_behind(case: Case) -> None:
    case.ders.append(case.pick_other())


def _chain_repeated(case: Case) -> None:
    case.ders *= case.random.choice([2, 3, 12])


def _chain_broken(case: Case) -> None:
    case.ders.append(flip_bit(INTERMEDIATE_DER, case.random))


def _chain_empty(case: Case) -> None:
    case.ders.clear()


CERTIFICATES: dict[str, Callable[[Case], None]] = {
    "der: a bit": _der_bit,
    "der: a bit of the signature": _der_signature_bit,
    "der: a bit of the serial number": _der_content_bit,
    "der: a byte": _der_byte,
    "der: cut": _der_cut,
    "der: appended": _der_appended,
    "der: renamed": _der_renamed,
    "der: grafted": _der_grafted,
    "der: extended": _der_extended,
    "der: lax": _der_lax,
    "der: no certificate": _der_no_certificate,
    "der: a tower": _der_tower,
    "chain: reversed": _chain_reversed,
    "chain: shuffled": _chain_shuffled,
    "chain: another first": _chain_other_first,
    "chain: another behind": _chain_other_behind,
    "chain: repeated": _chain_repeated,
    "chain: broken": _chain_broken,
    "chain: empty": _chain_empty,
}
