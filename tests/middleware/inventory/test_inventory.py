"""inventory.inventory: recorded once, found by every word for it, withdrawn for good; in either database."""

import random
import secrets
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

import keyfob.inventory.inventory as module
from inventories import DAY, ISSUER, NOW, make_entries, make_entry, read_withdrawals, run_at_once
from keyfob.errors import PKIError
from keyfob.inventory import (
    Inventory,
    NameTaken,
    NotInInventory,
    Order,
    Record,
    RevocationReason,
    Sighting,
    State,
    Withdrawal,
    open_inventory,
)
from keyfob.inventory.records import encode_serial, to_der
from keyfob.inventory.schema import advance
from postgresql import fresh_database

REASON = RevocationReason.KEY_COMPROMISE


def find_record(inventory: Inventory, name: str) -> Record:
    found = inventory.find_present(name)
    assert found is not None
    return found.record


def names_of(inventory: Inventory, order: Order = Order.NAME, *, descending: bool = False) -> list[str]:
    return [record.name for record in inventory.iterate(order, descending=descending)]


# --- What is recorded -------------------------------------------------------------------------------------------------


def test_what_was_recorded_is_found_as_it_was(inventory: Inventory) -> None:
    """Every field, and the certificate octet by octet."""
    entry = make_entry("Rhea's iPhone")
    inventory.add([entry])
    found = inventory.find_present("Rhea's iPhone")
    assert found is not None
    assert found.certificate == entry.certificate
    record = found.record
    assert record.fingerprint == entry.fingerprint
    assert int.from_bytes(record.serial) == entry.serial
    assert (record.name, record.not_before, record.not_after, record.issued_at) == (
        "Rhea's iPhone",
        entry.not_before,
        entry.not_after,
        entry.issued_at,
    )
    assert (record.retires_at, record.revoked_at, record.reason, record.seen_at, record.seen_from) == (None,) * 5
    assert record.find_state(NOW) is State.ACTIVE


@pytest.mark.parametrize(
    "write",
    [
        lambda entry: entry.name,
        lambda entry: f"{entry.serial:X}",
        lambda entry: f"{entry.serial:x}",
        lambda entry: f"00{entry.serial:034x}",
        lambda entry: encode_serial(entry.serial).hex(":"),
        lambda entry: entry.fingerprint.hex(),
        lambda entry: entry.fingerprint.hex(":").upper(),
    ],
)
def test_a_certificate_is_found_by_every_word_for_it(inventory: Inventory, write: Callable[[Any], str]) -> None:
    """Its name, its serial number and its fingerprint, as openssl and people write them."""
    entries = make_entries(["one", "two", "three"])
    inventory.add(entries)
    assert [found.record.name for found in inventory.find(write(entries[1]))] == ["two"]


def test_a_name_goes_before_a_number(inventory: Inventory) -> None:
    """A device that is called as another's serial number is what the word means."""
    first = make_entry("one")
    inventory.add([first, make_entry(f"{first.serial:x}")])
    assert [found.record.name for found in inventory.find(f"{first.serial:x}")] == [f"{first.serial:x}"]


@pytest.mark.parametrize(
    "words", ["", "nobody", "00", "ff" * 20, "ff" * 32, "a\0b", "\udcff", "x" * 10_000, "f" * 9999]
)
def test_words_that_mean_nothing_find_nothing(inventory: Inventory, words: str) -> None:
    """Also those that a database would not take."""
    inventory.add([make_entry("one")])
    assert inventory.find(words) == []
    assert inventory.find_present(words) is None
    assert inventory.find_present_names([words]) == {}


@pytest.mark.parametrize("name", ["x" * 64, "ü" * 64, "😀" * 64, "a'b\"c;--", "%", "Größe 東京"])
def test_any_other_name_up_to_64_characters_is_kept(inventory: Inventory, name: str) -> None:
    """Quotes and wildcards are letters like any other."""
    inventory.add([make_entry(name)])
    assert [found.record.name for found in inventory.find(name)] == [name]


@pytest.mark.parametrize("name", ["", "x" * 65, "a\0b", "\udcff"])
def test_a_name_that_cannot_be_kept_is_refused_with_all_that_come_with_it(inventory: Inventory, name: str) -> None:
    """In SQLite as in PostgreSQL."""
    with pytest.raises(PKIError, match="no device can be recorded as"):
        inventory.add([make_entry("one"), make_entry(name)])
    assert inventory.count() == 0


def test_of_a_taken_name_nothing_is_recorded(inventory: Inventory) -> None:
    """All or none, and the error names the first that was in the way."""
    inventory.add(make_entries(["three", "four"]))
    with pytest.raises(NameTaken, match="'three'"):
        inventory.add(make_entries(["one", "three", "four"]))
    assert names_of(inventory) == ["four", "three"]


def test_a_name_twice_in_one_call_is_taken(inventory: Inventory) -> None:
    """Of two rows of a list one would be lost."""
    with pytest.raises(NameTaken, match="'one'"):
        inventory.add(make_entries(["two", "one", "one"]))
    assert inventory.count() == 0


def test_a_serial_number_is_used_once(inventory: Inventory) -> None:
    """A list of revoked numbers would mean both certificates."""
    entry = make_entry("one")
    inventory.add([entry])
    with pytest.raises(PKIError, match="a serial number was used before") as refused:
        inventory.add([make_entry("two")._replace(serial=entry.serial)])
    assert type(refused.value) is PKIError
    assert names_of(inventory) == ["one"]


def test_nothing_to_record_is_nothing(inventory: Inventory) -> None:
    """An empty list changes nothing, not even the revision."""
    inventory.add([])
    inventory.revoke([], REASON, NOW)
    inventory.note_seen({})
    assert inventory.find_present_names([]) == {}
    assert (inventory.count(), read_withdrawals(inventory)[0]) == (0, 0)


def test_a_revoked_or_renewed_certificate_leaves_its_name(inventory: Inventory) -> None:
    """Only the one that counts is in the way of the next."""
    inventory.add([make_entry("one")])
    inventory.revoke([find_record(inventory, "one")], REASON, NOW)
    assert inventory.find_present("one") is None
    inventory.add([make_entry("one")])
    inventory.renew(make_entry("one"), NOW + DAY)
    with pytest.raises(NameTaken):
        inventory.add([make_entry("one")])
    assert [found.record.find_state(NOW) for found in inventory.find("one")] == [
        State.ACTIVE,
        State.RETIRING,
        State.REVOKED,
    ]


def test_a_chunk_can_be_looked_up_before_it_is_made_again(
    inventory: Inventory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a batch has recorded before it was killed is found at once, however many names there are."""
    monkeypatch.setattr(module, "_PAGE", 3)
    inventory.add(make_entries(f"device {number}" for number in range(8)))
    inventory.revoke([find_record(inventory, "device 0")], REASON, NOW)
    found = inventory.find_present_names([f"device {number}" for number in range(0, 16, 2)] * 2)
    assert sorted(found) == ["device 2", "device 4", "device 6"]
    assert all(record.name == name for name, record in found.items())


# --- Renewal ----------------------------------------------------------------------------------------------------------


def test_a_renewed_certificate_lives_until_its_last_day(inventory: Inventory) -> None:
    """Servers hear of that day when it is set, not when it has come."""
    old, new = make_entry("one"), make_entry("one")
    inventory.add([old])
    inventory.renew(new, NOW + DAY)
    assert find_record(inventory, "one").fingerprint == new.fingerprint
    (withdrawn,) = read_withdrawals(inventory)[1]
    assert withdrawn == Withdrawal(to_der(encode_serial(old.serial)), NOW + DAY)


def test_who_has_no_certificate_cannot_renew_one(inventory: Inventory) -> None:
    """Neither a stranger nor a device that was revoked; nothing is recorded."""
    inventory.add([make_entry("one")])
    inventory.revoke([find_record(inventory, "one")], REASON, NOW)
    for name in ("one", "nobody"):
        with pytest.raises(NotInInventory):
            inventory.renew(make_entry(name), NOW)
    assert (inventory.count(), read_withdrawals(inventory)[0]) == (1, 1)


def test_a_renewal_with_a_used_serial_number_leaves_the_old_certificate_as_it_was(inventory: Inventory) -> None:
    """The old one must not retire for a successor that does not exist."""
    entry = make_entry("one")
    inventory.add([entry])
    with pytest.raises(PKIError):
        inventory.renew(make_entry("one")._replace(serial=entry.serial), NOW)
    assert find_record(inventory, "one").retires_at is None
    assert read_withdrawals(inventory) == (0, [])


def test_of_two_renewals_of_one_certificate_one_is_refused(where: str, inventory: Inventory) -> None:
    """Two taps on one button give a device one successor, if the caller says which certificate it is about."""
    inventory.add([make_entry("one")])
    old = find_record(inventory, "one")

    def renew() -> None:
        with open_inventory(where) as mine:
            mine.renew(make_entry("one"), NOW + DAY, replaces=old.id)

    outcomes = run_at_once([renew] * 3)
    assert sorted(type(each).__name__ for each in outcomes) == ["NameTaken", "NameTaken", "NoneType"]
    assert len(inventory.find("one")) == 2


# --- Several at once --------------------------------------------------------------------------------------------------


def test_of_several_commands_that_take_one_name_one_gets_it(where: str, inventory: Inventory) -> None:
    """Exactly one, each time; the others are told that the name is taken."""
    names = [f"device {number}" for number in range(12)]

    def take() -> list[bool]:
        with open_inventory(where) as mine:
            return [attempt(mine, name) for name in names]

    def attempt(mine: Inventory, name: str) -> bool:
        try:
            mine.add([make_entry(name)])
        except NameTaken:
            return False
        return True

    outcomes = run_at_once([take] * 3)
    assert [sum(each) for each in zip(*outcomes, strict=True)] == [1] * len(names)
    assert names_of(inventory) == sorted(names)


def test_commands_that_issue_and_revoke_at_once_lose_nothing(where: str, inventory: Inventory) -> None:
    """Each makes devices of its own and revokes half of them, under a new issuer that all of them meet first."""

    def work(mark: str) -> Callable[[], None]:
        def run() -> None:
            with open_inventory(where) as mine:
                for number in range(10):
                    mine.add([make_entry(f"{mark}{number}", issuer=b"new")])
                    if number % 2:
                        mine.revoke([find_record(mine, f"{mark}{number}")], REASON, NOW)

        return run

    assert run_at_once([work(mark) for mark in "abc"]) == [None] * 3
    records = list(inventory.iterate())
    assert [record.name for record in records] == [f"{mark}{number}" for mark in "abc" for number in range(10)]
    assert [record.revoked_at is not None for record in records] == [False, True] * 15
    assert {record.issuer for record in records} == {records[0].issuer}
    assert read_withdrawals(inventory)[0] == 15


def test_who_follows_the_revisions_misses_nothing(where: str, inventory: Inventory) -> None:
    """Revisions become visible in their order: what has one that was passed is never added later."""
    marks, each = "abc", 25
    inventory.add(make_entries(f"{mark}{number}" for mark in marks for number in range(each)))

    def revoke(mark: str) -> Callable[[], int]:
        def run() -> int:
            with open_inventory(where) as mine:
                for number in range(each):
                    mine.revoke([find_record(mine, f"{mark}{number}")], REASON, NOW)
            return 0

        return run

    def follow() -> set[bytes]:
        heard: set[bytes] = set()
        revision = 0
        with open_inventory(where) as mine:
            while revision < len(marks) * each:
                reached, withdrawals = read_withdrawals(mine, revision)
                if reached < revision:
                    raise RuntimeError("the revision went back")
                revision = reached
                heard |= {withdrawal.serial for withdrawal in withdrawals}
        return heard

    outcomes = run_at_once([*map(revoke, marks), follow])
    assert outcomes[:3] == [0, 0, 0]
    assert outcomes[3] == {to_der(record.serial) for record in inventory.iterate()}


def test_a_revision_waits_for_the_one_before_it() -> None:
    """Whoever has taken a number and is slow holds up the next; SQLite has one writer at a time anyway."""
    with fresh_database() as url, open_inventory(url, create=True) as inventory:
        inventory.add(make_entries(["slow", "quick"]))
        database = inventory._database
        with database.write() as slow:
            advance(slow)
            with pytest.raises(PKIError), database.write() as quick:
                quick.execute(text("SET LOCAL lock_timeout = 100"))
                advance(quick)


def test_crl_numbers_are_given_out_once(where: str, inventory: Inventory) -> None:
    """Also to commands that ask at the same moment, for an issuer that nobody has seen before."""

    def ask() -> list[int]:
        with open_inventory(where) as mine:
            return [mine.number_crl(ISSUER) for _ in range(10)]

    numbers = [number for some in run_at_once([ask] * 3) for number in some]
    assert sorted(numbers) == list(range(1, 31))
    assert inventory.number_crl(b"another") == 1


def test_settings_are_replaced_by_whoever_comes_last(where: str, inventory: Inventory) -> None:
    """Two servers that start at once both leave their address, and neither fails."""
    assert inventory.read_setting("enrolment.url") is None

    def leave(value: str) -> Callable[[], None]:
        def run() -> None:
            with open_inventory(where) as mine:
                mine.write_setting("enrolment.url", value)

        return run

    values = ["https://192.0.2.1:8444", "https://192.0.2.2:8444", "https://192.0.2.3:8444"]
    assert run_at_once([leave(value) for value in values]) == [None] * 3
    assert inventory.read_setting("enrolment.url") in values
    inventory.write_setting("enrolment.url", "")
    assert inventory.read_setting("enrolment.url") == ""


def test_a_forked_process_leaves_its_parents_connections_alone(where: str, inventory: Inventory) -> None:
    """The child opens its own, and the parent's are what they were when it has ended."""
    inventory.add([make_entry("one")])
    before = find_session(inventory, where)

    def look() -> tuple[int, str]:
        inventory.forget_connections()
        return inventory.count(), find_session(inventory, where)

    outcomes = run_at_once([look, look])
    assert [count for count, _ in outcomes] == [1, 1]
    assert find_session(inventory, where) == before
    assert "://" not in where or before not in [session for _, session in outcomes]


def find_session(inventory: Inventory, where: str) -> str:
    """What PostgreSQL calls the connection that is used next; in SQLite there is one for each transaction."""
    with inventory._database.read() as connection:
        return str(connection.execute(text("SELECT pg_backend_pid()" if "://" in where else "SELECT 1")).scalar_one())


# --- Lists ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def mixed(inventory: Inventory, monkeypatch: pytest.MonkeyPatch) -> Inventory:
    """Nineteen devices in no order, some with equal moments, some never seen, read in pages of four."""
    monkeypatch.setattr(module, "_FIRST", 2)
    monkeypatch.setattr(module, "_PAGE", 4)
    choose = random.Random(5)  # noqa: S311 - the same disorder each time
    names = [f"{letter} {number}" for number, letter in enumerate("aZäAz_éB東-bÉcCdDeEf")]
    choose.shuffle(names)
    inventory.add([make_entry(name, not_after=NOW + choose.randrange(5)) for name in names])
    seen = {
        record.fingerprint: Sighting(NOW + choose.randrange(4), "192.0.2.7")
        for record in inventory.iterate()
        if choose.random() < 0.6
    }
    inventory.note_seen(seen)
    return inventory


_KEYS: dict[Order, Callable[[Record], Any]] = {
    Order.NAME: lambda record: (record.name.encode(), record.id),
    Order.ISSUED: lambda record: record.id,
    Order.EXPIRES: lambda record: (record.not_after, record.id),
    # What was never seen stands before what was seen long ago.
    Order.SEEN: lambda record: (record.seen_at or 0, record.id),
}


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("order", _KEYS)
def test_a_list_is_sorted_and_complete(mixed: Inventory, order: Order, descending: bool) -> None:
    """Page after page, each record once; names by their octets, so that both databases agree."""
    listed = list(mixed.iterate(order, descending=descending))
    assert len(listed) == mixed.count() == 19
    assert listed == sorted(listed, key=_KEYS[order], reverse=descending)
    assert 0 < sum(record.seen_at is None for record in listed) < 19


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("order", Order)
def test_a_list_has_each_device_once_whatever_happens_meanwhile(
    mixed: Inventory, order: Order, descending: bool
) -> None:
    """Devices that are seen, revoked or added between two pages change no place of another."""
    before = names_of(mixed)
    listed: list[str] = []
    for number, record in enumerate(mixed.iterate(order, descending=descending)):
        listed.append(record.name)
        if number % 5 == 0:
            everybody = list(mixed.iterate())
            mixed.note_seen({each.fingerprint: Sighting(NOW + 100 + number, "") for each in everybody})
            mixed.revoke(everybody[number : number + 2], REASON, NOW)
            mixed.add([make_entry(f"new {number}")])
    assert sorted(name for name in listed if not name.startswith("new")) == sorted(before)
    assert len(listed) == len(set(listed))


def test_an_empty_inventory_lists_nothing(inventory: Inventory) -> None:
    """In no order."""
    assert [list(inventory.iterate(order)) for order in Order] == [[]] * 4


# --- Sightings --------------------------------------------------------------------------------------------------------


def test_a_sighting_never_goes_back(inventory: Inventory) -> None:
    """Servers report late and out of order; the latest moment stays, with the address that belongs to it."""
    entry = make_entry("one")
    inventory.add([entry])
    for at, address in ((NOW, "192.0.2.1"), (NOW - 5, "192.0.2.2"), (NOW, "192.0.2.3"), (NOW + 1, "2001:db8::1")):
        inventory.note_seen({entry.fingerprint: Sighting(at, address), b"a stranger": Sighting(at, address)})
        record = find_record(inventory, "one")
        assert (record.seen_at, record.seen_from) == ((NOW, "192.0.2.1") if at <= NOW else (at, address))


def test_an_address_of_any_length_is_noted(inventory: Inventory) -> None:
    """A server behind a UNIX socket may report anything."""
    entry = make_entry("one")
    inventory.add([entry])
    inventory.note_seen({entry.fingerprint: Sighting(NOW, "\0" + "x" * 100)})
    assert find_record(inventory, "one").seen_from == "?" + "x" * 63


def test_servers_that_note_the_same_devices_at_once_do_not_block_each_other(where: str, inventory: Inventory) -> None:
    """Whatever order each has them in, and while some of the devices are being revoked in a third."""
    entries = make_entries(f"device {number}" for number in range(120))
    inventory.add(entries)
    records = list(inventory.iterate())

    def note(seed: int) -> Callable[[], None]:
        def run() -> None:
            choose = random.Random(seed)  # noqa: S311 - the same disorder each time
            prints = [entry.fingerprint for entry in entries]
            with open_inventory(where) as mine:
                for step in range(6):
                    choose.shuffle(prints)
                    mine.note_seen({each: Sighting(NOW + step * 10 + seed, f"server {seed}") for each in prints})

        return run

    def revoke() -> None:
        choose = random.Random(9)  # noqa: S311 - the same disorder each time
        with open_inventory(where) as mine:
            for _ in range(6):
                mine.revoke(choose.sample(records, 60), REASON, NOW)

    assert run_at_once([note(1), note(2), revoke]) == [None] * 3
    assert {(record.seen_at, record.seen_from) for record in inventory.iterate()} == {(NOW + 52, "server 2")}


def test_thousands_of_sightings_are_noted_in_one_call(inventory: Inventory) -> None:
    """As a server of a large fleet has them after a minute."""
    entries = make_entries(f"device {number}" for number in range(2000))
    inventory.add(entries)
    inventory.note_seen({entry.fingerprint: Sighting(NOW, "192.0.2.1") for entry in entries})
    assert all(record.seen_at == NOW for record in inventory.iterate())


# --- Withdrawals ------------------------------------------------------------------------------------------------------


def test_what_is_revoked_stays_so(inventory: Inventory) -> None:
    """A second revocation changes neither moment nor reason, and takes nothing back."""
    inventory.add([make_entry("one")])
    record = find_record(inventory, "one")
    inventory.revoke([record], REASON, NOW + 0.9)
    inventory.revoke([record], RevocationReason.UNSPECIFIED, NOW + DAY)
    (found,) = inventory.find("one")
    assert (found.record.revoked_at, found.record.reason) == (NOW, "keyCompromise")


def test_only_what_is_new_is_read(inventory: Inventory) -> None:
    """Beyond the revision that one has seen, in the order in which it happened."""
    entries = make_entries(["one", "two", "three"])
    inventory.add(entries)
    serials = [to_der(encode_serial(entry.serial)) for entry in entries]
    assert read_withdrawals(inventory) == (0, [])
    inventory.revoke([find_record(inventory, "two")], REASON, NOW)
    assert read_withdrawals(inventory) == (1, [Withdrawal(serials[1], 0)])
    assert read_withdrawals(inventory, 1) == (1, [])
    inventory.revoke([find_record(inventory, "one"), find_record(inventory, "three")], REASON, NOW + 1)
    revision, found = read_withdrawals(inventory, 1)
    assert revision == read_withdrawals(inventory)[0] == 2
    assert sorted(found) == sorted([Withdrawal(serials[0], 0), Withdrawal(serials[2], 0)])
    assert read_withdrawals(inventory)[1][0] == Withdrawal(serials[1], 0)


def test_a_certificate_that_was_renewed_and_then_revoked_is_told_twice(inventory: Inventory) -> None:
    """Its last day comes first, and then the earlier end."""
    inventory.add([make_entry("one")])
    old = find_record(inventory, "one")
    inventory.renew(make_entry("one"), NOW + DAY)
    revision, _ = read_withdrawals(inventory)
    inventory.revoke([old], REASON, NOW)
    assert read_withdrawals(inventory, revision) == (2, [Withdrawal(to_der(old.serial), 0)])


def test_a_backup_that_is_put_back_can_be_told_from_what_was_read(inventory: Inventory) -> None:
    """Who has seen more than there is must not wait until the numbers have come so far again."""
    inventory.add(make_entries(["one", "two"]))
    for name in ("one", "two"):
        inventory.revoke([find_record(inventory, name)], REASON, NOW)
    with inventory.view_history() as history:
        assert history.find_nonce(57) is None
        first, second = history.find_nonce(1), history.find_nonce(history.revision)
    assert first is not None
    assert second is not None
    assert first != second


def test_a_crl_names_what_is_withdrawn_and_has_not_expired(inventory: Inventory) -> None:
    """Of this issuer alone; what is renewed, from its last day on."""
    inventory.add(
        [
            make_entry("revoked"),
            make_entry("revoked, expired", not_after=NOW - 1),
            make_entry("revoked, in its last second", not_after=NOW),
            make_entry("counts"),
            make_entry("another's", issuer=b"another"),
            make_entry("renewed"),
            make_entry("retired"),
        ]
    )
    for name in ("revoked", "revoked, expired", "revoked, in its last second", "another's"):
        inventory.revoke([find_record(inventory, name)], REASON, NOW - 5)
    inventory.renew(make_entry("renewed"), NOW + 1)
    inventory.renew(make_entry("retired"), NOW)
    named = [record.name for record in inventory.iterate_revoked(ISSUER, NOW)]
    assert named == ["revoked", "revoked, in its last second", "retired"]
    assert [record.name for record in inventory.iterate_revoked(b"another", NOW)] == ["another's"]
    assert list(inventory.iterate_revoked(secrets.token_bytes(9), NOW)) == []
