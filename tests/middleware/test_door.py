"""door: the gate that is always the present one, and what is recorded of it."""

import gc
import json
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from certificates import Pair, make_authority, make_leaf
from exchanges import make_scope
from keyfob.audit import AuditRecord
from keyfob.config import load_gate
from keyfob.door import Counter, Door, find_door
from keyfob.errors import ConfigError, KeyfobError, LoginUnavailable, MiddlewareMissing, Missing, Reason
from keyfob.gate import Gate
from keyfob.inventory import Inventory, RevocationReason, open_inventory
from keyfob.inventory.records import make_entry
from keyfob.live import health
from keyfob.login.cookies import BROWSER
from keyfob.policy import Allow, Deny, Identity, Login
from keyfob.request import DOOR, Request
from logins import ASGI, Browser, build
from sites import write_application, write_document, write_policy

ROOT, OTHER = make_authority("Root"), make_authority("Other")
LEAF, SECOND = make_leaf(ROOT), make_leaf(ROOT, "Second device")
OPEN = write_policy({"everyone": {}}, decision="bypass")
CLOSED = write_policy({"everyone": {}}, decision="deny")
# Long enough for a busy machine; nothing waits for it on a quiet one.
SECONDS = 30


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "ca.pem").write_text(ROOT.pem)
    return tmp_path


def write(folder: Path, document: object) -> Path:
    """Writes the configuration aside and renames it, and returns its path."""
    (folder / "new").write_text(json.dumps(document))
    return (folder / "new").rename(folder / "access.json")


def make_door(
    *,
    config: Path | None = None,
    roots: Path | None = None,
    common_names: list[str] | None = None,
    gate: Gate | None = None,
    records: list[AuditRecord] | None = None,
) -> Door:
    """A door; what it records is appended to `records`."""
    door = Door(config, roots, common_names, gate, None)
    if records is not None:
        door.recorder._on_decision = records.append
    return door


NOW = time.time()


def enter(door: Door, leaf: Pair | None = LEAF, path: str = "/", after: float = 0) -> bool:
    """Whether a request gets in, as a skin asks and records it; `after` seconds from now."""
    request = door.gate.source.receive(make_scope([leaf.pem] if leaf else [], path=path), NOW + after)
    decision = door.gate.check(request)
    if isinstance(decision, Allow) and decision.opens_session:
        door.admit(decision, request)
    return isinstance(decision, Allow)


def wait_for_another(door: Door, gate: Gate) -> None:
    end = time.monotonic() + SECONDS
    while door.gate is gate:
        assert time.monotonic() < end, "the change never came"
        time.sleep(0.02)


# --- Which gate -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [(), ("config", "roots"), ("config", "gate"), ("roots", "gate")])
def test_exactly_one_of_config_roots_and_gate_is_given(folder: Path, given: tuple[str, ...]) -> None:
    """Which of two counts, nobody can tell."""
    config = write(folder, write_document())
    everything: dict[str, Any] = {"config": config, "roots": folder / "ca.pem", "gate": load_gate(config)}
    with pytest.raises(ConfigError, match="give exactly one"):
        make_door(**{name: everything[name] for name in given})


def test_common_names_go_with_roots(folder: Path) -> None:
    """A configuration has rules of its own."""
    with pytest.raises(ConfigError, match="goes with roots alone"):
        make_door(config=write(folder, write_document()), common_names=["Rhea Group"])
    door = make_door(roots=folder / "ca.pem", common_names=["Rhea Group"])
    assert enter(door)
    assert not enter(door, SECOND)


def test_a_changed_configuration_is_in_force_without_a_restart(folder: Path) -> None:
    """And the one before is not asked any more."""
    door = make_door(config=write(folder, write_document()))
    assert enter(door)
    before = door.gate
    write(folder, write_document(write_application(CLOSED)))
    wait_for_another(door, before)
    assert not enter(door)


def test_a_changed_root_is_in_force_without_a_restart(folder: Path) -> None:
    """Also where no configuration names it."""
    door = make_door(roots=folder / "ca.pem")
    assert enter(door)
    before = door.gate
    (folder / "new").write_text(OTHER.pem)
    (folder / "new").rename(folder / "ca.pem")
    wait_for_another(door, before)
    assert not enter(door)
    assert enter(door, make_leaf(OTHER))


def test_a_gate_that_was_built_by_hand_follows_nothing(folder: Path) -> None:
    """Whoever built it swaps it."""
    door = make_door(gate=load_gate(write(folder, write_document())))
    assert door.watch is None
    door.swap(load_gate(write(folder, write_document(write_application(CLOSED)))))
    assert not enter(door)


def test_a_state_that_cannot_be_recorded_changes_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the gate nor the recorder is another one then."""

    def refuse(*_: object) -> None:
        raise KeyfobError("no file can be appended to here", "leave it out")

    monkeypatch.setattr("keyfob.audit.recorder.RecordFile", refuse)
    door = make_door(gate=load_gate(write(folder, write_document())))
    gate, recorder = door.gate, door.recorder
    unusable = write_document(write_application(CLOSED), audit={"file": "audit.log"})
    with pytest.raises(ConfigError, match=r"audit\.file"):
        door.swap(load_gate(write(folder, unusable)))
    assert (door.gate, door.recorder) == (gate, recorder)


def test_a_door_that_nobody_holds_goes_and_so_does_its_thread(folder: Path) -> None:
    """Frameworks build the middleware anew for each app that a test makes."""
    door = make_door(config=write(folder, write_document()))
    assert door.watch is not None
    thread, gone = door.watch._thread, weakref.ref(door)
    del door
    deadline = time.monotonic() + SECONDS
    while gone() is not None:
        # The thread may be telling the door the time at this very moment.
        assert time.monotonic() < deadline
        gc.collect()
    assert thread is not None
    thread.join(SECONDS)
    assert not thread.is_alive()


# --- Sessions ---------------------------------------------------------------------------------------------------------


def test_the_first_admission_of_a_session_is_recorded(folder: Path) -> None:
    """Each device and each application has its own."""
    records: list[AuditRecord] = []
    applications = [write_application(), write_application(domain="money.example.com/admin")]
    door = make_door(gate=load_gate(write(folder, write_document(*applications))), records=records)
    for leaf, path in [(LEAF, "/"), (LEAF, "/"), (SECOND, "/"), (LEAF, "/admin"), (SECOND, "/"), (LEAF, "/admin/x")]:
        assert enter(door, leaf, path)
    assert [(record.common_name, record.path) for record in records] == [
        ("Rhea Group", "/"),
        ("Second device", "/"),
        ("Rhea Group", "/admin"),
    ]
    assert enter(door, after=901)
    assert len(records) == 4


def test_a_reload_begins_no_new_session(folder: Path) -> None:
    """Whatever changed: who was admitted a minute ago is not news."""
    records: list[AuditRecord] = []
    door = make_door(gate=load_gate(write(folder, write_document())), records=records)
    assert enter(door)
    for number in range(3):
        door.swap(
            load_gate(write(folder, write_document(groups=[{"name": str(number), "include": [{"everyone": {}}]}])))
        )
        assert enter(door, after=60 * number)
    assert len(records) == 1
    # The last of these gates has seen its first request after two minutes, and counts from there.
    assert enter(door, after=120 + 901)
    assert len(records) == 2


def test_forgetting_begins_no_new_session(folder: Path) -> None:
    """A responder's answer about somebody else has everybody verified again."""
    records: list[AuditRecord] = []
    door = make_door(gate=load_gate(write(folder, write_document())), records=records)
    for _ in range(3):
        assert enter(door)
        door.gate.forget()
    assert len(records) == 1


def test_every_admission_is_recorded_if_every_one_is_asked_for(folder: Path) -> None:
    """Also of those who show no certificate."""
    records: list[AuditRecord] = []
    document = write_document(write_application(OPEN), audit={"admissions": "every"})
    door = make_door(gate=load_gate(write(folder, document)))
    door.recorder._on_decision = records.append
    for leaf in (LEAF, None):
        for _ in range(3):
            assert enter(door, leaf)
    assert [record.common_name for record in records] == ["Rhea Group"] * 3 + [None] * 3


def test_whoever_needs_no_certificate_is_not_recorded(folder: Path) -> None:
    """There is no device that could be told from another."""
    records: list[AuditRecord] = []
    door = make_door(gate=load_gate(write(folder, write_document(write_application(OPEN)))), records=records)
    assert enter(door, None)
    request = door.gate.source.receive(make_scope(), NOW)
    decision = door.gate.check(request)
    assert isinstance(decision, Allow)
    door.admit(decision, request)
    assert records == []


def test_two_threads_open_one_session(folder: Path) -> None:
    """However they meet, one record is written."""
    records: list[AuditRecord] = []
    door = make_door(gate=load_gate(write(folder, write_document())), records=records)
    threads = [threading.Thread(target=enter, args=(door,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(records) == 1


# --- Inventories ------------------------------------------------------------------------------------------------------


@pytest.fixture
def inventory(folder: Path) -> Iterator[Inventory]:
    """The inventory of the root, with two devices."""
    with open_inventory(folder / "inventory.db", create=True) as inventory:
        inventory.add(
            [
                make_entry(name, pair.certificate, ROOT.certificate, NOW)
                for name, pair in (("phone", LEAF), ("second", SECOND))
            ]
        )
        yield inventory


def follow(folder: Path, **more: Any) -> dict[str, Any]:
    """A document that follows the inventory; `more` is what else it says."""
    document = write_document(**more)
    document["root_certificates"][0]["inventory"] = "inventory.db"
    return document


def revoke(inventory: Inventory, name: str) -> None:
    inventory.revoke([each.record for each in inventory.find(name)], RevocationReason.KEY_COMPROMISE, time.time())


def find_reason(door: Door, leaf: Pair = LEAF) -> Reason | None:
    """Why a device is refused at this very moment, None if it is not."""
    decision = door.gate.check(door.gate.source.receive(make_scope([leaf.pem]), time.time()))
    return decision.reason if isinstance(decision, Deny) else None


def wait(condition: Callable[[], object]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


@pytest.mark.parametrize("by_hand", [False, True])
def test_a_device_that_an_inventory_withdraws_is_out_soon(folder: Path, inventory: Inventory, by_hand: bool) -> None:
    """However often it was let in before; also where the gate was built by hand, and follows no files."""
    config = write(folder, follow(folder))
    door = make_door(gate=load_gate(config)) if by_hand else make_door(config=config)
    assert [find_reason(door), find_reason(door, SECOND)] == [None, None]
    revoke(inventory, "phone")
    wait(lambda: find_reason(door) is Reason.CERTIFICATE_REVOKED)
    assert find_reason(door, SECOND) is None


def test_a_device_that_was_renewed_is_out_at_its_last_moment(folder: Path, inventory: Inventory) -> None:
    """Whether or not anybody looks meanwhile, and its successor is in."""
    door = make_door(config=write(folder, follow(folder)))
    assert find_reason(door) is None
    successor = make_leaf(ROOT, "Rhea Group")
    inventory.renew(make_entry("phone", successor.certificate, ROOT.certificate, NOW), int(time.time()) + 2)
    [book] = door.gate.withdrawals.values()
    wait(lambda: book.version)
    door._inventories.stop()
    assert find_reason(door, successor) is None
    wait(lambda: find_reason(door) is Reason.CERTIFICATE_REVOKED)
    assert find_reason(door, successor) is None


def test_nobody_stays_in_when_nobody_looks(folder: Path, inventory: Inventory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither who was let in before nor anybody else; health says why, and it is over with the next look."""
    monkeypatch.setattr("keyfob.trust.withdrawals.GRACE", 0.6)
    door = make_door(config=write(folder, follow(folder)))
    assert door.watch is not None
    aside = (folder / "inventory.db").rename(folder / "aside")
    wait(lambda: find_reason(door) is Reason.CERTIFICATE_STATUS_UNKNOWN)
    [state] = [each for each in health().configurations if each.name == door.watch.name]
    assert not state.ok
    assert "inventory.db is gone" in state.problem
    aside.rename(folder / "inventory.db")
    wait(lambda: find_reason(door) is None)
    wait(lambda: all(each.ok for each in health().configurations if door.watch and each.name == door.watch.name))


def test_a_changed_configuration_goes_on_with_the_same_book(folder: Path, inventory: Inventory) -> None:
    """One without the inventory leaves it, and one that comes back to it reads it anew."""
    door = make_door(config=write(folder, follow(folder)))
    assert door.watch is not None
    wait(door.watch.look)
    [book], gate = door.gate.withdrawals.values(), door.gate
    (folder / "inventory.db").rename(folder / "aside")
    write(folder, follow(folder, groups=[{"name": "x", "include": [{"everyone": {}}]}]))
    wait_for_another(door, gate)
    (folder / "aside").rename(folder / "inventory.db")
    assert [*door.gate.withdrawals.values()] == [book]
    revoke(inventory, "phone")
    wait(lambda: find_reason(door) is Reason.CERTIFICATE_REVOKED)
    gate = door.gate
    write(folder, write_document())
    wait_for_another(door, gate)
    assert find_reason(door) is None
    assert door._inventories.lines == []
    gate = door.gate
    write(folder, follow(folder))
    wait_for_another(door, gate)
    assert find_reason(door) is Reason.CERTIFICATE_REVOKED


def test_the_inventory_learns_whom_a_session_was_opened_for(folder: Path, inventory: Inventory) -> None:
    """When, and from where, at the latest when the process ends."""
    door = make_door(config=write(folder, follow(folder)))
    assert enter(door)
    assert enter(door, after=100)
    door.close()
    seen = inventory.find("phone")[0].record
    assert (seen.seen_at, seen.seen_from) == (int(NOW), "127.0.0.1")
    assert enter(door, after=1000)
    door.close()
    assert inventory.find("phone")[0].record.seen_at == int(NOW + 1000)
    assert inventory.find("second")[0].record.seen_at is None


def test_every_admission_is_a_sighting_if_every_one_is_recorded(folder: Path, inventory: Inventory) -> None:
    """And whoever shows no certificate is none."""
    document = follow(folder, applications=[write_application(OPEN)], audit={"admissions": "every"})
    door = make_door(config=write(folder, document))
    assert enter(door, None)
    assert enter(door)
    assert enter(door, after=100)
    door.close()
    assert inventory.find("phone")[0].record.seen_at == int(NOW + 100)


def test_threads_that_look_end_with_their_door(folder: Path, inventory: Inventory) -> None:
    """Frameworks build the middleware anew for each app that a test makes."""
    door = make_door(config=write(folder, follow(folder)))
    [line] = door._inventories.lines
    threads, gone = list(line._threads), weakref.ref(door)
    del door, line
    gc.collect()
    assert gone() is None
    for thread in threads:
        thread.join(SECONDS)
        assert not thread.is_alive()


# --- Who asks ---------------------------------------------------------------------------------------------------------


def test_a_request_knows_the_door_that_it_came_through(folder: Path) -> None:
    """And nothing else passes for one."""
    door = make_door(roots=folder / "ca.pem")
    assert find_door({DOOR: door}) is door
    for scope in ({}, {DOOR: None}, {DOOR: "door"}):
        with pytest.raises(MiddlewareMissing, match="no AccessMiddleware"):
            find_door(scope)


def test_a_refusal_is_no_admission(folder: Path) -> None:
    """Whoever is refused opens no session, and gets a record when let in at last."""
    records: list[AuditRecord] = []
    door = make_door(gate=load_gate(write(folder, write_document(write_application(CLOSED)))), records=records)
    assert isinstance(door.gate.check(door.gate.source.receive(make_scope([LEAF.pem]), NOW)), Deny)
    door.swap(load_gate(write(folder, write_document())))
    assert enter(door)
    assert len(records) == 1


# --- Logins -----------------------------------------------------------------------------------------------------------


def open_counter(door: Door, target: str = "/") -> Counter:
    """One step of a login of nobody."""
    request = door.gate.source.receive(make_scope(path=target, headers=[(b"accept", b"text/html")]), time.time())
    decision = door.gate.check(request)
    assert isinstance(decision, Login)
    return door.open_counter(door.gate, decision, request, b"")


def test_a_counter_says_what_is_asked_for_until_there_is_an_answer() -> None:
    """Nothing, where a redirect is all there is to say."""
    counter = open_counter(make_door(gate=build().gate))
    assert counter.begin() is None
    assert counter.answer.status == 303


def test_what_cannot_be_done_is_told_to_the_steps() -> None:
    """Which have an answer for it; it may come from whoever carries, or from who was asked."""
    house = build()
    for trouble in (None, LoginUnavailable("gone")):
        records: list[AuditRecord] = []
        door = make_door(gate=house.gate, records=records)
        skin = ASGI(house.gate)
        browser = Browser(skin)
        state = browser.begin()
        request = door.gate.source.receive(
            make_scope(
                path="/.keyfob/callback/stub",
                raw_path=b"/.keyfob/callback/stub",
                query_string=f"state={state}&code=x".encode(),
                headers=[(b"cookie", f"{BROWSER}={browser.jar[BROWSER]}".encode())],
            ),
            time.time(),
        )
        decision = door.gate.check(request)
        assert isinstance(decision, Login)
        counter = door.open_counter(door.gate, decision, request, b"")
        ask = counter.begin()
        assert ask is not None
        house.store.trouble = trouble
        assert (counter.fail(LoginUnavailable("busy")) if trouble is None else counter.perform(ask)) is None
        assert counter.answer.status == 503
        said = "busy" if trouble is None else "gone"
        assert [(each.reason, each.detail) for each in records] == [("login-unavailable", said)]


def test_where_nobody_can_log_in_there_is_no_counter() -> None:
    """A gate without a desk never asks for one."""
    house = build()
    nobody = Login(Reason.LOGIN_REQUIRED, "", Identity(None, Missing("-"), ()))
    gate = Gate(house.gate.source, {}, house.gate.roots)
    with pytest.raises(KeyfobError, match="nobody can log in here"):
        Counter(make_door(gate=house.gate), gate, nobody, Request({}, None, 0), b"")


def test_a_book_is_followed_from_the_place_where_it_is(folder: Path) -> None:
    """A gate built by hand may keep one that nobody follows."""
    assert make_door(gate=build().gate)._books._lines == {}
