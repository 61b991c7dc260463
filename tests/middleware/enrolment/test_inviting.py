"""enrolment.inviting: what an invitation makes, and what becomes of it when nobody comes."""

import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs12

import keyfob.inventory.inventory as inventory_module
from keyfob.enrolment.inviting import P12, Wish, erase_lapsed, invite
from keyfob.enrolment.issuing import RETIRES_AFTER
from keyfob.enrolment.requests import EST, SCEP, SCEP_RENEWAL, read_request
from keyfob.errors import PKIError
from keyfob.inventory import Inventory, State
from keyfob.inventory.invitations import Lapsed
from keyfob.pki.authority import DeviceRequest
from keyfob.pki.registry import Registry
from registries import make_registry

REQUEST = DeviceRequest("My iPhone", days=90, organization="Money App", emails=("me@example.com",))


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return make_registry(tmp_path / "home")


def find_states(inventory: Inventory, name: str = "My iPhone", at: float | None = None) -> list[State]:
    """Of the device's certificates, newest first."""
    return [stored.record.find_state(at or time.time()) for stored in inventory.find(name)]


def count_invitations(registry: Registry) -> int:
    """How many there are, by their numbers, which begin at 1."""
    number = 0
    while registry.inventory.invitations.read(number + 1) is not None:
        number += 1
    return number


def test_a_key_waits_encrypted_for_its_owner(registry: Registry) -> None:
    """In the inventory, under the password that is said here alone; its certificate counts from now on."""
    invited = invite(registry, Wish(REQUEST), 15)
    used, payload, challenge = registry.inventory.invitations.use(invited.token, time.time(), "192.0.2.7", "")
    assert challenge is None
    assert payload is not None
    assert invited.password is not None
    key, certificate, _ = pkcs12.load_key_and_certificates(payload, invited.password.encode())
    present = registry.inventory.find_present("My iPhone")
    assert present is not None
    assert certificate == present.parsed
    assert used.certificate == present.record.id
    assert key is not None
    assert certificate.public_key() == key.public_key()
    assert certificate.subject.rfc4514_string() == "CN=My iPhone,O=Money App"


def test_the_password_has_a_hundred_bits_and_is_nowhere_kept(registry: Registry) -> None:
    """Twenty letters and digits out of 32; what the inventory has cannot be opened without it."""
    invited = invite(registry, Wish(REQUEST), 15)
    assert invited.password is not None
    assert len(invited.password.replace("-", "")) == 20
    for path in registry.folder.rglob("*"):
        if path.is_file():
            kept = path.read_bytes()
            assert invited.password.encode() not in kept
            assert invited.token.encode() not in kept


def test_the_kind_of_the_key_can_be_chosen(registry: Registry) -> None:
    """RSA, for one, where something old wants it."""
    invite(registry, Wish(REQUEST, key_kind="rsa2048"), 15)
    present = registry.inventory.find_present("My iPhone")
    assert present is not None
    assert isinstance(present.parsed.public_key(), rsa.RSAPublicKey)


@pytest.mark.parametrize("kind", [SCEP, EST])
def test_a_key_that_is_born_elsewhere_makes_nothing_here(registry: Registry, kind: str) -> None:
    """Nothing but the invitation, which keeps what the certificate shall say."""
    invited = invite(registry, Wish(REQUEST, kind), 15)
    assert invited.password is None
    assert registry.inventory.count() == 0
    kept = registry.inventory.invitations.read(invited.number)
    assert kept is not None
    assert kept.kind == kind
    assert read_request(kept.request) == REQUEST


@pytest.mark.parametrize("kind", [P12, SCEP, EST])
def test_a_name_that_is_taken_is_refused_with_what_to_do(registry: Registry, kind: str) -> None:
    """Whoever has it would be locked out, or nobody would know which of the two is meant."""
    invite(registry, Wish(REQUEST), 15)
    with pytest.raises(PKIError, match="'My iPhone' has a certificate already") as raised:
        invite(registry, Wish(REQUEST, kind), 15)
    assert "--renew" in raised.value.hint
    assert "keyfob revoke" in raised.value.hint
    assert (registry.inventory.count(), count_invitations(registry)) == (1, 1)


def test_a_successor_can_be_invited(registry: Registry) -> None:
    """The old key opens the door for another week."""
    invite(registry, Wish(REQUEST), 15)
    invite(registry, Wish(REQUEST, renew=True), 15)
    now = time.time()
    assert find_states(registry.inventory, at=now) == [State.ACTIVE, State.RETIRING]
    assert find_states(registry.inventory, at=now + RETIRES_AFTER + 60)[1] == State.REVOKED


def test_a_successor_can_be_born_on_the_device(registry: Registry) -> None:
    """The one that counts stays until the new one is signed."""
    invite(registry, Wish(REQUEST), 15)
    invited = invite(registry, Wish(REQUEST, SCEP, renew=True), 15)
    assert invited.kind == SCEP_RENEWAL
    assert find_states(registry.inventory) == [State.ACTIVE]


@pytest.mark.parametrize("kind", [P12, SCEP])
def test_what_is_not_there_cannot_be_renewed(registry: Registry, kind: str) -> None:
    """A slip of the keyboard would make a new device."""
    with pytest.raises(PKIError, match="there is no device 'My iPhone' to renew"):
        invite(registry, Wish(REQUEST, kind, renew=True), 15)
    assert count_invitations(registry) == 0


@pytest.mark.parametrize(
    "wish",
    [
        Wish(REQUEST, "ftp"),
        Wish(REQUEST._replace(name="../x")),
        Wish(REQUEST._replace(name="a\u202eb")),
        Wish(REQUEST._replace(emails=("no mail",))),
        Wish(REQUEST, key_kind="ed25519"),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(registry: Registry, wish: Wish) -> None:
    """Neither a certificate nor an invitation."""
    with pytest.raises(PKIError):
        invite(registry, wish, 15)
    assert (registry.inventory.count(), count_invitations(registry)) == (0, 0)


@pytest.mark.parametrize("minutes", [0, -1, 24 * 60 + 1])
def test_an_invitation_is_open_for_a_minute_to_a_day(registry: Registry, minutes: int) -> None:
    """What lies open for weeks is found by somebody."""
    with pytest.raises(PKIError, match="minutes are no time"):
        invite(registry, Wish(REQUEST), minutes)


def test_a_lapsed_invitation_is_erased_and_its_certificate_withdrawn(registry: Registry) -> None:
    """Nobody will ever have its key; the name is free again."""
    invited = invite(registry, Wish(REQUEST), 15)
    assert erase_lapsed(registry.inventory, invited.expires_at - 1) == []
    assert find_states(registry.inventory) == [State.ACTIVE]

    [lapsed] = erase_lapsed(registry.inventory, invited.expires_at)

    assert lapsed.name == "My iPhone"
    assert find_states(registry.inventory) == [State.REVOKED]
    [stored] = registry.inventory.find("My iPhone")
    assert stored.record.reason == "cessationOfOperation"
    assert erase_lapsed(registry.inventory, invited.expires_at) == []
    with pytest.raises(Lapsed):
        registry.inventory.invitations.use(invited.token, invited.expires_at, "192.0.2.7", "")
    invite(registry, Wish(REQUEST), 15)


def test_an_invitation_that_was_used_never_lapses(registry: Registry) -> None:
    """The key is on the device by then."""
    invited = invite(registry, Wish(REQUEST), 15)
    registry.inventory.invitations.use(invited.token, time.time(), "192.0.2.7", "")
    assert erase_lapsed(registry.inventory, invited.expires_at + 1) == []
    assert find_states(registry.inventory) == [State.ACTIVE]


def test_a_lapse_withdraws_no_other_certificate_of_the_name(registry: Registry) -> None:
    """The one before it goes on retiring."""
    invite(registry, Wish(REQUEST), 15)
    used = invite(registry, Wish(REQUEST, renew=True), 30)
    erase_lapsed(registry.inventory, used.expires_at - 60)
    assert find_states(registry.inventory) == [State.ACTIVE, State.REVOKED]


@pytest.mark.parametrize("renews", [False, True])
def test_what_fails_halfway_leaves_nothing(registry: Registry, monkeypatch: pytest.MonkeyPatch, renews: bool) -> None:
    """Certificate and invitation are recorded together, and the old certificate keeps its time."""
    if renews:
        registry.issue(REQUEST)
    before = find_states(registry.inventory)

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(inventory_module, "describe_invitation", interrupt)
    with pytest.raises(KeyboardInterrupt):
        invite(registry, Wish(REQUEST, renew=renews), 15)
    assert find_states(registry.inventory) == before
