"""inventory.invitations: a token is said once, used once, and kept by nobody; in either database."""

import contextlib
from pathlib import Path

import pytest

from inventories import DAY, NOW, make_entry, read_withdrawals, run_at_once
from keyfob.errors import PKIError
from keyfob.inventory import (
    Inventory,
    Invitation,
    Invitations,
    Lapsed,
    NameTaken,
    NotInInventory,
    RevocationReason,
    State,
    Unknown,
    UsedBefore,
    Withdrawal,
    open_inventory,
)
from keyfob.inventory.records import to_der

REASON = RevocationReason.CESSATION_OF_OPERATION
PAYLOAD = b"an encrypted key"


@pytest.fixture
def invitations(inventory: Inventory) -> Invitations:
    return inventory.invitations


def read(invitations: Invitations, number: int) -> Invitation:
    found = invitations.read(number)
    assert found is not None
    return found


def test_an_invitation_is_found_by_its_token_alone(invitations: Invitations) -> None:
    """The token has 128 bits, stands in a link as it is, and is another one each time."""
    token, number = invitations.invite("Rhea's iPhone", "scep", NOW, 900, request='{"days": 30}')
    other, _ = invitations.invite("Rhea's iPhone", "scep", NOW, 900)
    assert token != other
    assert len(token) == 22
    assert token.replace("-", "").replace("_", "").isalnum()
    found = invitations.find(token)
    assert found == read(invitations, number)
    assert (found.name, found.kind, found.request) == ("Rhea's iPhone", "scep", '{"days": 30}')
    assert (found.created_at, found.expires_at, found.used_at, found.tries) == (NOW, NOW + 900, None, 0)
    for stranger in ("", token[:-1], token + "x", "a\0b", "\udcff", "x" * 10_000):
        assert invitations.find(stranger) is None
    assert invitations.read(number + 99) is None


def test_neither_token_nor_challenge_is_kept(tmp_path: Path) -> None:
    """Whoever reads the inventory's files cannot use an invitation."""
    with open_inventory(tmp_path / "inventory.db", create=True) as inventory:
        token, _ = inventory.invitations.invite("one", "scep", NOW, 900)
        challenge = inventory.invitations.use(token, NOW, "192.0.2.1", "Safari", challenge_lasts=600)[2]
    assert challenge is not None
    for path in tmp_path.iterdir():
        assert token.encode() not in path.read_bytes()
        assert challenge.encode() not in path.read_bytes()


@pytest.mark.parametrize("name", ["", "x" * 65, "a\0b"])
def test_nobody_is_invited_under_a_name_that_cannot_be_recorded(invitations: Invitations, name: str) -> None:
    """It would be found out when the device comes, which is too late."""
    with pytest.raises(PKIError, match="no device can be recorded as"):
        invitations.invite(name, "p12", NOW, 900)


def test_an_invitation_is_used_once_and_its_payload_is_gone(invitations: Invitations) -> None:
    """Who comes second is told so, and is written down; who came first stays written down."""
    token, number = invitations.invite("one", "p12", NOW, 900, payload=PAYLOAD)
    used, payload, challenge = invitations.use(token, NOW + 899, "192.0.2.1", "Safari")
    assert (used.id, payload, challenge) == (number, PAYLOAD, None)
    for moment in (NOW + 899, NOW + 901):
        with pytest.raises(UsedBefore) as refused:
            invitations.use(token, moment, "192.0.2.66", "curl")
        assert refused.value.invitation.used_from == "192.0.2.1"
    found = read(invitations, number)
    assert (found.used_at, found.used_from, found.used_with) == (NOW + 899, "192.0.2.1", "Safari")
    assert (found.tries, found.tried_at, found.tried_from) == (2, NOW + 901, "192.0.2.66")


def test_a_lapsed_invitation_opens_nothing(invitations: Invitations) -> None:
    """From its last second on; the try is counted, the payload stays where it is until it is erased."""
    token, number = invitations.invite("one", "p12", NOW, 900, payload=PAYLOAD)
    with pytest.raises(Lapsed, match="'one' has lapsed") as refused:
        invitations.use(token, NOW + 900, "192.0.2.1", "Safari")
    assert refused.value.hint == "make a new one"
    found = read(invitations, number)
    assert (found.used_at, found.tries) == (None, 1)
    assert not found.is_open(NOW + 900)
    assert found.is_open(NOW + 899)


def test_a_token_that_was_never_said_opens_nothing(invitations: Invitations) -> None:
    """And leaves no trace; nor does it take the one place of a writer from those who have a token."""
    with invitations._database.write():
        with pytest.raises(Unknown):
            invitations.use("guessed", NOW, "192.0.2.1", "Safari")
        with pytest.raises(Unknown):
            invitations.redeem("guessed", "transaction 1", NOW)


def test_of_several_that_use_one_invitation_at_once_one_gets_it(where: str, inventory: Inventory) -> None:
    """The others are counted, each of them."""
    token, number = inventory.invitations.invite("one", "p12", NOW, 900, payload=PAYLOAD)

    def use() -> bytes | None:
        with open_inventory(where) as mine:
            return mine.invitations.use(token, NOW, "192.0.2.1", "Safari")[1]

    outcomes = run_at_once([use] * 4)
    assert outcomes.count(PAYLOAD) == 1
    assert read(inventory.invitations, number).tries == 3


def test_what_a_stranger_says_of_itself_is_made_to_fit(invitations: Invitations) -> None:
    """A header may be long, and have anything in it."""
    token, number = invitations.invite("one", "p12", NOW, 900)
    invitations.use(token, NOW, "\0" + "1" * 99, "é\0\udcff" + "x" * 999)
    found = read(invitations, number)
    assert found.used_from == "?" + "1" * 63
    assert found.used_with == "é??" + "x" * 197
    with pytest.raises(UsedBefore):
        invitations.use(token, NOW, "\0" * 99, "")
    assert read(invitations, number).tried_from == "?" * 64


# --- Challenges -------------------------------------------------------------------------------------------------------


def open_challenge(invitations: Invitations) -> str:
    token, _ = invitations.invite("one", "scep", NOW, 900)
    challenge = invitations.use(token, NOW, "192.0.2.1", "Safari", challenge_lasts=600)[2]
    assert challenge is not None
    assert challenge != token
    return challenge


def test_a_challenge_is_used_up_by_one_transaction(invitations: Invitations) -> None:
    """A second call gets nothing, whether it is the same phone's or a stranger's; it sees which one has."""
    challenge = open_challenge(invitations)
    found = invitations.redeem(challenge, "transaction 1", NOW + 599)
    assert found.name == "one"
    for transaction in ("transaction 1", "transaction 2"):
        with pytest.raises(UsedBefore) as refused:
            invitations.redeem(challenge, transaction, NOW + 599)
        assert refused.value.invitation.transaction_id == "transaction 1"


def test_a_challenge_lapses(invitations: Invitations) -> None:
    """In its own time, and stays unused then."""
    challenge = open_challenge(invitations)
    with pytest.raises(Lapsed):
        invitations.redeem(challenge, "transaction 1", NOW + 600)
    assert invitations.redeem(challenge, "transaction 1", NOW).transaction_id is None


@pytest.mark.parametrize("guess", ["", "guess", "a\0b", "\udcff"])
def test_a_guessed_challenge_is_unknown(invitations: Invitations, guess: str) -> None:
    """Also the empty one, beside invitations that have none."""
    invitations.invite("one", "p12", NOW, 900)
    with pytest.raises(Unknown):
        invitations.redeem(guess, "transaction 1", NOW)


def test_a_token_is_no_challenge_and_a_challenge_no_token(invitations: Invitations) -> None:
    """What opens the page does not sign, and the other way round."""
    token, _ = invitations.invite("one", "scep", NOW, 900)
    with pytest.raises(Unknown):
        invitations.redeem(token, "transaction 1", NOW)
    with pytest.raises(Unknown):
        invitations.use(open_challenge(invitations), NOW, "192.0.2.1", "Safari")


def test_of_several_that_redeem_one_challenge_at_once_one_may(where: str, inventory: Inventory) -> None:
    """Before anything is signed, so there is no second certificate."""
    challenges = [open_challenge(inventory.invitations) for _ in range(10)]

    def redeem() -> list[bool]:
        with open_inventory(where) as mine:
            return [attempt(mine.invitations, challenge) for challenge in challenges]

    def attempt(mine: Invitations, challenge: str) -> bool:
        try:
            mine.redeem(challenge, "a transaction", NOW)
        except UsedBefore:
            return False
        return True

    outcomes = run_at_once([redeem] * 4)
    assert [sum(each) for each in zip(*outcomes, strict=True)] == [1] * len(challenges)


def test_what_came_of_an_invitation_is_written_down(inventory: Inventory) -> None:
    """Together with the certificate itself."""
    _, number = inventory.invitations.invite("one", "scep", NOW, 900)
    inventory.add_invited(make_entry("one"), number)
    present = inventory.find_present("one")
    assert present is not None
    assert read(inventory.invitations, number).certificate == present.record.id


# --- Cancelling -------------------------------------------------------------------------------------------------------


def test_revoking_a_name_cancels_what_could_still_come_of_it(inventory: Inventory) -> None:
    """An open invitation, one whose device has yet to show its challenge, and a key that waits to be fetched."""
    invitations = inventory.invitations
    unused, _ = invitations.invite("one", "est", NOW, 900)
    opened, _ = invitations.invite("one", "scep", NOW, 900)
    _, _, challenge = invitations.use(opened, NOW, "192.0.2.1", "", challenge_lasts=600)
    waiting, _ = inventory.invite(make_entry("one"), "p12", NOW, 900, PAYLOAD)
    others, _ = invitations.invite("two", "est", NOW, 900)
    records, cancelled = inventory.revoke_name("one", REASON, NOW + 1)
    assert ([record.name for record in records], cancelled) == (["one"], 3)
    for token in (unused, waiting):
        with pytest.raises(Lapsed):
            invitations.use(token, NOW + 2, "192.0.2.1", "")
    with pytest.raises(Lapsed):
        invitations.redeem(str(challenge), "transaction", NOW + 2)
    assert invitations.use(others, NOW + 2, "192.0.2.1", "")[0].name == "two"
    assert inventory.revoke_name("one", REASON, NOW + 3) == ([], 0)


def test_a_device_that_is_served_while_its_name_is_revoked_gets_nothing(inventory: Inventory) -> None:
    """Its challenge was redeemed, and its certificate is signed, but not recorded yet."""
    token, number = inventory.invitations.invite("one", "scep", NOW, 900)
    _, _, challenge = inventory.invitations.use(token, NOW, "192.0.2.1", "", challenge_lasts=600)
    inventory.invitations.redeem(str(challenge), "transaction", NOW)
    assert inventory.revoke_name("one", REASON, NOW + 1) == ([], 1)
    with pytest.raises(Lapsed):
        inventory.add_invited(make_entry("one"), number)
    assert inventory.count() == 0


def test_a_renewal_during_a_revocation_is_revoked_or_refused(where: str, inventory: Inventory) -> None:
    """Whoever renews in a loop does not outrun the name's revocation."""
    for name in (names := [f"device {number}" for number in range(10)]):
        inventory.add([make_entry(name)])

    def renew() -> None:
        with open_inventory(where) as mine:
            for name in names * 20:
                with contextlib.suppress(NotInInventory, NameTaken):
                    mine.renew(make_entry(name), NOW + 900)

    def revoke() -> None:
        with open_inventory(where) as mine:
            for name in names:
                mine.revoke_name(name, REASON, NOW)

    run_at_once([renew, revoke])
    assert [record.name for record in inventory.iterate() if record.find_state(NOW + 1) is not State.REVOKED] == []


def test_an_erased_key_is_not_handed_out_by_a_slow_clock(inventory: Inventory) -> None:
    """Nor is the invitation used up by it."""
    token, number = inventory.invite(make_entry("one"), "p12", NOW, 900, PAYLOAD)
    inventory.invitations.erase_lapsed(NOW + 901, REASON)
    with pytest.raises(Lapsed):
        inventory.invitations.use(token, NOW + 899, "192.0.2.1", "")
    assert read(inventory.invitations, number).used_at is None


def test_a_renewal_that_nobody_fetches_leaves_the_old_certificate_as_it_was(inventory: Inventory) -> None:
    """The device is not locked out by an invitation that it never saw."""
    inventory.add([make_entry("one")])
    inventory.invite(make_entry("one"), "p12", NOW, 900, PAYLOAD, retires_at=NOW + 7 * DAY)
    inventory.invitations.erase_lapsed(NOW + 900, REASON)
    new, old = inventory.find("one")
    assert (new.record.find_state(NOW + 901), old.record.find_state(NOW + 901)) == (State.REVOKED, State.ACTIVE)
    assert inventory.find_present("one") == old
    assert Withdrawal(to_der(old.record.serial), None) in read_withdrawals(inventory)[1]


# --- Erasing ----------------------------------------------------------------------------------------------------------


def test_payloads_that_nobody_has_fetched_in_time_are_erased_once(invitations: Invitations) -> None:
    """Not those that are still open, nor those that were used, nor those that never were."""
    used, _ = invitations.invite("used", "p12", NOW, 900, payload=PAYLOAD)
    invitations.use(used, NOW, "192.0.2.1", "Safari")
    invitations.invite("still open", "p12", NOW, 901, payload=PAYLOAD)
    invitations.invite("without", "scep", NOW, 900)
    _, number = invitations.invite("lapsed", "p12", NOW, 900, payload=PAYLOAD)
    assert invitations.erase_lapsed(NOW + 899, REASON) == []
    assert [each.id for each in invitations.erase_lapsed(NOW + 900, REASON)] == [number]
    assert invitations.erase_lapsed(NOW + 900, REASON) == []


def test_a_key_that_nobody_has_fetched_is_withdrawn_with_its_certificate(inventory: Inventory) -> None:
    """In one step, and seen by whoever follows; of a name that is free again."""
    entry = make_entry("one")
    inventory.invite(entry, "p12", NOW, 900, PAYLOAD)
    assert [each.name for each in inventory.invitations.erase_lapsed(NOW + 900, REASON)] == ["one"]
    [stored] = inventory.find("one")
    assert (stored.record.revoked_at, stored.record.reason) == (NOW + 900, "cessationOfOperation")
    assert read_withdrawals(inventory)[1] == [Withdrawal(to_der(stored.record.serial), 0)]
    inventory.add([make_entry("one")])


def test_an_invitation_to_a_taken_name_records_nothing(inventory: Inventory) -> None:
    """Neither the certificate nor itself."""
    inventory.add([make_entry("one")])
    with pytest.raises(NameTaken):
        inventory.invite(make_entry("one"), "p12", NOW, 900, PAYLOAD)
    assert inventory.count() == 1
    assert inventory.invitations.read(1) is None


def test_servers_that_erase_at_once_share_the_work(where: str, inventory: Inventory) -> None:
    """Each lapsed invitation is one server's to see to."""
    for number in range(12):
        inventory.invitations.invite(f"device {number}", "p12", NOW, 900, payload=PAYLOAD)

    def erase() -> list[str]:
        with open_inventory(where) as mine:
            return [each.name for each in mine.invitations.erase_lapsed(NOW + 900, REASON)]

    outcomes = run_at_once([erase] * 3)
    assert sorted(name for names in outcomes for name in names) == sorted(f"device {number}" for number in range(12))
