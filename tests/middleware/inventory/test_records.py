"""inventory.records: what a record says of itself, and what can be one."""

import pytest

from inventories import NOW
from keyfob.errors import PKIError
from keyfob.inventory import Record, State
from keyfob.inventory.records import encode_serial, fit, require_storable_name, to_der


def make_record(
    *, not_after: int = NOW + 10, retires_at: int | None = None, revoked_at: int | None = None, serial: bytes = b"\x01"
) -> Record:
    return Record(
        1, "iPhone", serial.rjust(20, b"\0"), b"", 1, 0, not_after, 0, retires_at, revoked_at, None, None, None
    )


@pytest.mark.parametrize(
    ("record", "state"),
    [
        (make_record(), State.ACTIVE),
        (make_record(not_after=NOW), State.ACTIVE),
        (make_record(not_after=NOW - 1), State.EXPIRED),
        (make_record(retires_at=NOW + 1), State.RETIRING),
        (make_record(retires_at=NOW), State.REVOKED),
        (make_record(retires_at=NOW + 1, not_after=NOW - 1), State.EXPIRED),
        (make_record(revoked_at=NOW - 1), State.REVOKED),
        (make_record(revoked_at=NOW - 1, not_after=NOW - 1), State.REVOKED),
        (make_record(revoked_at=NOW - 1, retires_at=NOW + 1), State.REVOKED),
    ],
)
def test_a_state_follows_from_the_moments(record: Record, state: State) -> None:
    """Revoked goes before expired, and expired before renewed; a certificate is valid in its last second."""
    assert record.find_state(NOW) is state


@pytest.mark.parametrize(
    ("serial", "text", "der"),
    [
        (1, "01", b"\x01"),
        (0x7F, "7F", b"\x7f"),
        (0x80, "80", b"\x00\x80"),
        (0xABC, "0ABC", b"\x0a\xbc"),
        (2**159 - 1, "7F" + "FF" * 19, b"\x7f" + b"\xff" * 19),
        (2**160 - 1, "FF" * 20, b"\x00" + b"\xff" * 20),
    ],
)
def test_a_serial_number_is_kept_at_one_length_and_written_in_two_ways(serial: int, text: str, der: bytes) -> None:
    """As openssl prints it, and as DER has it, with a leading 00 where the first bit would be a sign."""
    kept = encode_serial(serial)
    assert len(kept) == 20
    assert make_record(serial=kept).serial_text == text
    assert to_der(kept) == der


@pytest.mark.parametrize("serial", [-1, 2**160])
def test_a_serial_number_beyond_rfc_5280_is_refused(serial: int) -> None:
    """Cut off, it could be that of another certificate."""
    with pytest.raises(PKIError, match="20 octets"):
        encode_serial(serial)


@pytest.mark.parametrize("name", ["", "x" * 65, "a\0b", "half of a character \ud83d"])
def test_a_name_that_a_database_does_not_take_is_refused_before_it_is_asked(name: str) -> None:
    """Each database has its own opinion of such names; ours comes first, and can be printed anywhere."""
    with pytest.raises(PKIError, match="no device can be recorded as") as refused:
        require_storable_name(name)
    assert str(refused.value).isascii()


def test_what_a_stranger_sends_is_made_to_fit() -> None:
    """A browser's name for itself may have anything in it."""
    assert fit("abc", 2) == "ab"
    assert fit("a\0\udcffé", 9) == "a??é"
