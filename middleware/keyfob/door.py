"""What both skins are made of: the gate, which follows its files, and the recorder of what it decides."""

import atexit
import os
import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keyfob.addresses import Address
from keyfob.answer import Answer
from keyfob.audit import Recorder, Records, Sessions
from keyfob.config import build_gate, gate_for_roots
from keyfob.errors import ConfigError, KeyfobError, LoginUnavailable, MiddlewareMissing, Problem, Reason
from keyfob.gate import Gate
from keyfob.live import Watch
from keyfob.live.inventories import Inventories
from keyfob.live.responders import Responders
from keyfob.policy import Allow, Deny, Identity, Login, Preflight
from keyfob.refusal import compose_refusal, find_accept
from keyfob.request import DOOR, Request

if TYPE_CHECKING:
    from keyfob.callbacks import Messenger, OnDecision
    from keyfob.login.exchanges import Ask
    from keyfob.login.steps import Outcome

# Octets of a form of ours.
LARGEST_FORM = 8192


class Door:
    """A gate that is always the present one.

    Exactly one of `config`, `roots` and `gate` is given. The files of the first two are watched from here on, and
    `gate` is another one once they have changed. Raises ConfigError with everything that is wrong.
    """

    gate: Gate

    def __init__(
        self,
        config: str | Path | None,
        roots: str | Path | None,
        common_names: Sequence[str] | None,
        gate: Gate | None,
        on_decision: "OnDecision | None",
    ) -> None:
        _require_one(config, roots, common_names, gate)
        self._messenger = None if on_decision is None else _make_messenger(on_decision)
        self.recorder = Recorder(on_decision=self._messenger)
        self._sessions = Sessions()
        self.watch: Watch | None = None
        # The threads that ask must not keep the door, and end with it.
        self._responders = Responders({}, partial(_forget, weakref.ref(self)))
        self._inventories = Inventories({}, partial(_forget, weakref.ref(self)))
        self._books = Inventories({})
        weakref.finalize(self, self._responders.stop)
        weakref.finalize(self, self._inventories.stop)
        weakref.finalize(self, self._books.stop)
        _DOORS.add(self)
        if gate is not None:
            self.swap(gate)
        elif config is not None:
            self._follow(Watch(lambda files: build_gate(Path(config), files), str(config)))
        else:
            self._follow(Watch(lambda files: gate_for_roots(str(roots), common_names, files), str(roots)))

    def swap(self, gate: Gate) -> None:
        """Makes `gate` the one that every further request meets. Raises ConfigError, and then nothing has changed."""
        before, recorder = self.recorder, self.recorder
        if gate.records != before.records:
            recorder = _open_recorder(gate.records, self._messenger)
        self._responders.replace(gate.books)
        self._inventories.replace(gate.withdrawals)
        self._books.replace({gate.desk.where: gate.desk.book} if gate.desk and gate.desk.where else {})
        self.gate, self.recorder = gate, recorder
        if recorder is not before:
            before.close()
        self.ask()

    def ask(self) -> None:
        """Asks OCSP responders, and looks into inventories, from this process on."""
        self._responders.start()
        self._inventories.start()
        self._books.start()

    def admit(self, decision: Allow, request: Request) -> None:
        """Records an admission that opens a session as this gate sees it, unless an earlier gate has seen it open.

        The inventories learn that the device was seen.
        """
        records, certificate = self.recorder.records, decision.identity.certificate
        if records.admissions == "first":
            # Whoever needs neither certificate nor login nor token is nobody in particular, and has no session.
            who = _name(decision.identity)
            if who is None or not self._sessions.begins(who, decision.application, request.at, records.session):
                return
        client = self.gate.source.find_client(request)
        if certificate is not None:
            self._inventories.note(
                bytes.fromhex(certificate.fingerprint_sha256), request.at, "" if client is None else str(client)
            )
        self.recorder.admit(decision, request, client)

    def close(self) -> None:
        """Writes down what was left out, and gives callbacks a moment. What comes later is recorded all the same."""
        self._inventories.flush()
        self.recorder.close()
        if self._messenger is not None:
            self._messenger.close()

    # --- What keyfob itself says --------------------------------------------------------------------------------------

    def answer(self, gate: Gate, decision: Deny | Login | Preflight, request: Request, login: str = "") -> Answer:
        """The answer to a request that does not reach the app; a refusal is recorded. `login` is where to log in."""
        if isinstance(decision, Preflight):
            return Answer(204, [*decision.headers], b"")
        request_id = self.recorder.refuse(decision, request, gate.source.find_client(request))
        return compose_refusal(decision, request_id, find_accept(request.headers), login)

    def open_counter(self, gate: Gate, decision: Login, request: Request, form: bytes) -> "Counter":
        """One step of a login, as the browser sees it."""
        return Counter(self, gate, decision, request, form)

    def refuse_handshake(self, error: str) -> None:
        """Records a connection that the TLS layer ended because of its certificate."""
        self.recorder.refuse_handshake(error)

    def _follow(self, watch: Watch) -> None:
        self.watch = watch
        watch.tick = partial(_tick, weakref.ref(self))
        watch.subscribe(self.swap)


def _name(identity: Identity) -> str | None:
    """What tells whoever was let in from others; None for somebody who has shown nothing."""
    device = identity.certificate.fingerprint_sha256 if identity.certificate else ""
    person = identity.user or identity.service_token
    return f"{device} {person.identity if person else ''}" if device or person else None


def _forget(reference: "weakref.ref[Door]") -> None:
    """A responder or an inventory has withdrawn something that verdicts rest on."""
    door = reference()
    if door is not None:
        door.gate.forget()


def _tick(reference: "weakref.ref[Door]", now: float) -> None:
    """Tells what a flood has left out, once it lets up. The thread that calls must not keep the door."""
    door = reference()
    if door is not None:
        door.recorder.tick(now)
        door.ask()


class Counter:
    """One visit to the desk: what the steps of a login ask for, one after the other, and in the end the answer.

    A skin only carries: it calls `begin`, and `perform` with what it was given, until there is nothing more to do.
    """

    answer: Answer

    def __init__(self, door: Door, gate: Gate, decision: Login, request: Request, form: bytes) -> None:
        # These need the extra `sso`, which whoever has a desk has installed.
        from keyfob.login.returning import read_query  # noqa: PLC0415
        from keyfob.login.steps import Visit, answer  # noqa: PLC0415

        if gate.desk is None:
            raise KeyfobError("nobody can log in here")
        self._door, self._gate, self._decision, self._request = door, gate, decision, request
        self._perform = gate.desk.carrier.perform
        self._steps = answer(Visit(gate.desk, decision, request, read_query(form), gate.judge_login))

    def begin(self) -> "Ask | None":
        """The first thing that is asked for; None if there is none, and `answer` is there."""
        return self._go(lambda: next(self._steps))

    def perform(self, ask: "Ask") -> "Ask | None":
        """Does it, waiting as long as it takes, and says what is asked for next."""
        try:
            found = self._perform(ask)
        except LoginUnavailable as error:
            return self.fail(error)
        return self._go(lambda: self._steps.send(found))

    def fail(self, error: LoginUnavailable) -> "Ask | None":
        """Says that it cannot be done, and what is asked for next."""
        return self._go(lambda: self._steps.throw(error))

    def _go(self, step: "Callable[[], Ask]") -> "Ask | None":
        try:
            return step()
        except StopIteration as end:
            self.answer = self._conclude(end.value)
            return None

    def _conclude(self, outcome: "Outcome") -> Answer:
        from keyfob.login.steps import Admission, Refused  # noqa: PLC0415 - as above

        is_told = isinstance(outcome, Refused) and outcome.decision is self._decision
        if self._decision.reason is not Reason.LOGIN_REQUIRED and not is_told:
            # Somebody has a session that is not theirs: that is worth a record whatever comes of it.
            self._door.recorder.refuse(self._decision, self._request, self._find_client())
        if isinstance(outcome, Answer):
            return outcome
        if isinstance(outcome, Admission):
            self._door.admit(outcome.decision, outcome.request)
            return outcome.answer
        refusal = self._door.answer(self._gate, outcome.decision, self._request, outcome.login)
        return refusal if outcome.page is None else outcome.page

    def _find_client(self) -> "Address | None":
        return self._gate.source.find_client(self._request)


_DOORS: "weakref.WeakSet[Door]" = weakref.WeakSet()


def _begin_in_child() -> None:
    """No thread outlives a fork. (What watches the files begins anew by itself.)"""
    for door in list(_DOORS):
        door.ask()


def _close_all() -> None:
    """Writes down what has been left out, before the process ends."""
    for door in list(_DOORS):
        door.close()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_in_child)


def _require_one(
    config: str | Path | None, roots: str | Path | None, common_names: Sequence[str] | None, gate: Gate | None
) -> None:
    if sum(each is not None for each in (config, roots, gate)) != 1:
        hint = 'config="access.toml", or roots="ca.pem" for any device of one CA'
        raise ConfigError("AccessMiddleware", [Problem("", "give exactly one of config, roots and gate", hint)])
    if common_names is not None and roots is None:
        hint = "write the names as a common_name rule into the configuration"
        raise ConfigError("AccessMiddleware", [Problem("common_names", "goes with roots alone", hint)])


def _make_messenger(on_decision: "OnDecision") -> "Messenger":
    from keyfob.callbacks import Messenger  # noqa: PLC0415 - brings an event loop along, which a WSGI app may never need

    return Messenger(on_decision)


def _open_recorder(records: Records, messenger: "Messenger | None") -> Recorder:
    try:
        return Recorder(records, messenger)
    except KeyfobError as error:
        raise ConfigError("[audit]", [Problem("audit.file", error.message, error.hint)]) from error


def find_door(scope: Mapping[str, Any]) -> Door:
    """The door that let this request in. Raises MiddlewareMissing."""
    door = scope.get(DOOR)
    if not isinstance(door, Door):
        raise MiddlewareMissing("no AccessMiddleware has checked this request", "put one around the app")
    return door
