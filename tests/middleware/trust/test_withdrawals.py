"""trust.withdrawals: what an inventory has withdrawn, what it will, and for how long anybody can tell."""

import threading
from itertools import count

import pytest

from certificates import Pair, make_authority, make_leaf
from keyfob.trust.serials import encode_serial
from keyfob.trust.withdrawals import ALWAYS, GRACE, NEVER, Withdrawals

ROOT = make_authority()
PHONE, LAPTOP = make_leaf(ROOT, "Phone"), make_leaf(ROOT, "Laptop")
NOW = 1_800_000_000.0


class Clock:
    """Goes forward when it is told to."""

    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def book(clock: Clock) -> Withdrawals:
    return Withdrawals("inventory.db", clock)


def enter(book: Withdrawals, pair: Pair, at: float | None) -> bool:
    """Whether it was news."""
    before = book.version
    book.enter([(encode_serial(pair.certificate), at)], NOW)
    return book.version != before


def find_end(book: Withdrawals, pair: Pair = PHONE) -> float:
    return book.find_end(pair.certificate)


def test_what_an_inventory_does_not_name_is_not_withdrawn(book: Withdrawals) -> None:
    """It is a list of withdrawals and none of admissions."""
    enter(book, LAPTOP, ALWAYS)
    assert find_end(book) == NEVER
    assert len(book) == 1


@pytest.mark.parametrize("at", [ALWAYS, NOW - 1, NOW])
def test_what_is_withdrawn_stays_so_whatever_is_said_later(book: Withdrawals, at: float) -> None:
    """A backup that was put back may be older than the theft."""
    assert enter(book, PHONE, at)
    for later in (None, NOW + 1, ALWAYS):
        assert not enter(book, PHONE, later)
        assert find_end(book) == ALWAYS
    assert len(book) == 1


def test_a_last_moment_is_known_before_it_comes(book: Withdrawals) -> None:
    """A certificate that was renewed lives until then."""
    assert enter(book, PHONE, NOW + 60)
    assert find_end(book) == NOW + 60
    assert find_end(book, LAPTOP) == NEVER
    assert (len(book), book.count_ends()) == (0, 1)


def test_a_last_moment_can_be_moved_and_taken_back(book: Withdrawals) -> None:
    """As long as it has not come."""
    enter(book, PHONE, NOW + 60)
    assert not enter(book, PHONE, NOW + 60)
    assert enter(book, PHONE, NOW + 90)
    assert find_end(book) == NOW + 90
    assert enter(book, PHONE, None)
    assert find_end(book) == NEVER
    assert not enter(book, PHONE, None)
    book.settle(NOW + 1000)
    assert find_end(book) == NEVER


def test_a_withdrawal_goes_before_a_last_moment(book: Withdrawals) -> None:
    """A phone that was renewed can be lost all the same."""
    enter(book, PHONE, NOW + 60)
    assert enter(book, PHONE, ALWAYS)
    assert find_end(book) == ALWAYS
    assert book.count_ends() == 0


def test_what_has_come_to_its_last_moment_is_withdrawn_for_good(book: Withdrawals) -> None:
    """It takes no more room than the others then, and verdicts made before are told of it once."""
    enter(book, PHONE, NOW + 60)
    enter(book, LAPTOP, NOW + 61)
    version = book.version
    book.settle(NOW + 59)
    assert (book.version, len(book)) == (version, 0)
    book.settle(NOW + 60)
    assert (find_end(book), find_end(book, LAPTOP)) == (ALWAYS, NOW + 61)
    assert (book.version, len(book), book.count_ends()) == (version + 1, 1, 1)
    book.settle(NOW + 60)
    assert book.version == version + 1


def test_a_moment_that_was_moved_counts_at_its_new_place_alone(book: Withdrawals) -> None:
    """The old place is left over."""
    enter(book, PHONE, NOW + 60)
    enter(book, PHONE, NOW + 90)
    book.settle(NOW + 60)
    assert find_end(book) == NOW + 90
    book.settle(NOW + 90)
    assert find_end(book) == ALWAYS


# --- Whether anybody looks --------------------------------------------------------------------------------------------


def test_a_book_that_nobody_has_read_yet_is_worth_nothing(book: Withdrawals) -> None:
    """Not even at once."""
    assert book.measure_rest() <= 0
    assert "nobody has looked" in book.find_trouble()


def test_a_look_is_relied_on_for_a_while(book: Withdrawals, clock: Clock) -> None:
    """From the moment at which it began."""
    clock.at += 2
    book.confirm(7, "mark", clock.at - 2)
    assert book.measure_rest() == GRACE - 2
    assert book.find_trouble() == ""
    assert (book.revision, book.mark) == (7, "mark")
    clock.at += GRACE - 2
    assert book.measure_rest() == 0
    assert book.find_trouble() == "nobody has looked into the inventory inventory.db for more than 30 seconds"


def test_a_look_that_fails_is_a_trouble_until_one_does_not(book: Withdrawals, clock: Clock) -> None:
    """What was known before is relied on meanwhile."""
    book.confirm(1, None, clock.at)
    book.trouble = "the disk is gone"
    assert book.find_trouble() == "the disk is gone"
    assert book.measure_rest() == GRACE
    book.confirm(1, None, clock.at)
    assert book.find_trouble() == ""


# --- Threads ----------------------------------------------------------------------------------------------------------


def test_nobody_is_missed_while_others_are_entered(book: Withdrawals) -> None:
    """The table moves its keys about as it grows."""
    enter(book, PHONE, ALWAYS)
    stop, missed = threading.Event(), []

    def look() -> None:
        while not stop.is_set():
            if find_end(book) != ALWAYS:
                missed.append(len(book))

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    size, numbers = len(encode_serial(PHONE.certificate)), count()
    for _ in range(100):
        book.enter([(next(numbers).to_bytes(size), ALWAYS) for _ in range(200)], NOW)
    stop.set()
    for thread in threads:
        thread.join()
    assert missed == []
    assert len(book) == 20_001


def test_nobody_looks_while_something_is_entered(book: Withdrawals) -> None:
    """Half a step of the table is no table."""
    enter(book, PHONE, ALWAYS)
    found: list[float] = []
    thread = threading.Thread(target=lambda: found.append(find_end(book)))
    with book.lock:
        thread.start()
        thread.join(0.2)
        assert found == []
    thread.join()
    assert found == [ALWAYS]


def test_what_is_shown_of_it_has_its_name(book: Withdrawals) -> None:
    """And no serial numbers."""
    assert repr(book) == "<Withdrawals of 'inventory.db', 0>"
