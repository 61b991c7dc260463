"""audit: one record for each decision worth keeping, and nothing in it that was not meant."""

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from time import time
from typing import Any

import pytest

from certificates import make_authority, make_leaf, make_name
from exchanges import make_request, make_scope
from keyfob.audit import AuditRecord, Recorder, Records
from keyfob.certificate import ClientCertificate, format_serial
from keyfob.errors import Missing, Reason, Untrusted
from keyfob.policy import Allow, Deny, Identity, Login, ServiceToken, User
from keyfob.request import Request
from servers import environment

CERTIFICATE = ClientCertificate(make_leaf(make_authority()).certificate, [])
KNOWN = Identity(CERTIFICATE, None, ())
UNKNOWN = Identity(None, Missing("no certificate was presented"), ())
ADDRESS = ip_address("203.0.113.7")
REFUSED = Deny(Reason.NO_MATCHING_POLICY, "Budget", "", KNOWN)
ADMITTED = Allow("Budget", "My iPhone", KNOWN, opens_session=True)
AT = 1_800_000_000.25

EVERYTHING = {
    "time": "2027-01-15T08:00:00.250+00:00",
    "application": "Budget",
    "detail": None,
    "common_name": "Rhea Group",
    "serial_number": format_serial(CERTIFICATE.serial_number),
    "fingerprint_sha256": CERTIFICATE.fingerprint_sha256,
    "certificate_reason": None,
    "address": "203.0.113.7",
    "peer": "127.0.0.1",
    "host": "money.example.com",
    "method": "GET",
    "path": "/admin",
    "user": None,
    "provider": None,
    "service_token": None,
}


def read(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [json.loads(each.getMessage()) for each in caplog.records if each.name == "keyfob.audit"]


def refuse(decision: Deny, request: Request, caplog: pytest.LogCaptureFixture) -> dict[str, Any]:
    """The one line of a recorder that only this refusal was told to."""
    request_id = Recorder().refuse(decision, request, ADDRESS)
    [said] = read(caplog)
    assert said["request_id"] == request_id
    return said


class TestRefusal:
    """What is kept of a request that was refused."""

    def test_tells_everything_that_is_known(self, caplog: pytest.LogCaptureFixture) -> None:
        """Who, where, when, what was asked, and why not."""
        said = refuse(REFUSED, make_request(make_scope(path="/admin"), AT), caplog)
        said.pop("request_id")
        assert said == EVERYTHING | {"decision": "refused", "reason": "no-matching-policy", "policy": ""}
        assert [each.levelno for each in caplog.records] == [logging.WARNING]

    def test_has_the_fields_of_a_record_in_their_order(self, caplog: pytest.LogCaptureFixture) -> None:
        """A program that reads the log can rely on them, and so can a callback."""
        assert tuple(refuse(REFUSED, make_request(make_scope()), caplog)) == AuditRecord._fields

    def test_tells_the_certificates_own_trouble(self, caplog: pytest.LogCaptureFixture) -> None:
        """The detail is for the log alone."""
        identity = Identity(None, Untrusted("CN=x: no path", "ask"), ("pem",))
        said = refuse(Deny(Reason.CERTIFICATE_UNTRUSTED, "Budget", "", identity), make_request(make_scope()), caplog)
        assert (said["certificate_reason"], said["detail"]) == ("certificate-untrusted", "CN=x: no path; hint: ask")

    def test_tells_what_the_decision_adds(self, caplog: pytest.LogCaptureFixture) -> None:
        """It is about the decision, and the certificate's reason still stands beside it."""
        decision = Deny(Reason.CERTIFICATE_MISSING, "Budget", "Phones", UNKNOWN, "the list could not be read")
        said = refuse(decision, make_request(make_scope()), caplog)
        assert (said["certificate_reason"], said["detail"]) == ("certificate-missing", "the list could not be read")

    def test_by_a_requirement_of_the_app_is_one_like_any_other(self, caplog: pytest.LogCaptureFixture) -> None:
        """A handler asked for more than the policy did, of a device that the policy knows."""
        decision = Deny(Reason.REQUIREMENT_NOT_MET, "Budget", "My iPhone", KNOWN, "ou: Accounting")
        said = refuse(decision, make_request(make_scope()), caplog)
        assert (said["reason"], said["policy"], said["detail"]) == (
            "requirement-not-met",
            "My iPhone",
            "ou: Accounting",
        )
        assert said["common_name"] == "Rhea Group"

    def test_at_a_path_of_no_application_says_so(self, caplog: pytest.LogCaptureFixture) -> None:
        """And what became of the certificate, which was looked for."""
        said = refuse(Deny(Reason.PATH_UNKNOWN, "", "", UNKNOWN), make_request(make_scope()), caplog)
        assert said["certificate_reason"] == "certificate-missing"
        assert said["detail"] == "no application of this host has this path"

    @pytest.mark.parametrize("reason", [Reason.HOST_MALFORMED, Reason.HOST_UNKNOWN])
    def test_before_a_certificate_was_looked_for_says_nothing_of_one(
        self, reason: Reason, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Or its owner would look for a certificate that was there all the time."""
        said = refuse(Deny(reason, "", "", UNKNOWN), make_request(make_scope()), caplog)
        assert said["certificate_reason"] is None
        assert said["detail"]
        assert "certificate" not in said["detail"]

    def test_has_its_own_id_each_time(self) -> None:
        """So that the number on somebody's screen finds one line; also when there is none any more."""
        recorder, request = Recorder(), make_request(make_scope(), AT)
        assert len({recorder.refuse(REFUSED, request, None) for _ in range(500)}) == 500

    def test_of_a_handshake_is_a_record_too(self, caplog: pytest.LogCaptureFixture) -> None:
        """No request ever came of it, but somebody will ask."""
        Recorder().refuse_handshake("certificate has expired", ADDRESS)
        [said] = read(caplog)
        assert tuple(said) == AuditRecord._fields
        known = {"reason": "handshake-refused", "detail": "certificate has expired", "address": "203.0.113.7"}
        assert {name: value for name, value in said.items() if value is not None} == {
            "time": said["time"],
            "decision": "refused",
            **known,
        }

    def test_of_a_handshake_from_nobody_knows_where_says_so(self, caplog: pytest.LogCaptureFixture) -> None:
        """Not every TLS layer tells the address."""
        Recorder().refuse_handshake("certificate has expired")
        assert [each["address"] for each in read(caplog)] == [None]


class TestHostileText:
    """Whatever is sent, it is one line of printable ASCII, and not a long one."""

    HOSTILE = 'x"\n\r\x00\x08\x1b[2J\x7f\x85\u202e\u2028\ud800 {"decision": "admitted"}'

    def test_cannot_forge_a_line(self, caplog: pytest.LogCaptureFixture) -> None:
        """Line ends, terminal escapes and direction marks stay inside their string, and long texts are cut."""
        named = ClientCertificate(make_leaf(make_authority(), make_name("evil\n\x1b[31m\u202e")).certificate, [])
        scope = make_scope(path=self.HOSTILE + "y" * 5000, method="GET\n" + "x" * 5000, client=("z\x7f" * 5000, 1))
        decision = Deny(Reason.NO_MATCHING_POLICY, "Budget", "", Identity(named, None, ()), "d\n" * 5000)
        said = refuse(decision, make_request(scope), caplog)
        [line] = [each.getMessage() for each in caplog.records]
        assert line.isascii()
        assert line.isprintable()
        assert str(said["path"]).startswith(self.HOSTILE)
        assert {len(str(said[name])) for name in ("path", "method", "peer", "detail")} == {513}
        assert said["common_name"] == "evil\n\x1b[31m\u202e"

    def test_of_a_handshake_is_cut_as_well(self, caplog: pytest.LogCaptureFixture) -> None:
        """OpenSSL's words may hold the certificate's."""
        Recorder().refuse_handshake("x\n" * 5000)
        assert [len(each["detail"]) for each in read(caplog)] == [513]

    def test_stands_in_the_file_as_it_does_in_the_log(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """The very same bytes."""
        recorder = Recorder(Records(tmp_path / "audit.log"))
        recorder.refuse(REFUSED, make_request(make_scope(path=self.HOSTILE)), ADDRESS)
        recorder.close()
        [line] = [each.getMessage() for each in caplog.records]
        assert (tmp_path / "audit.log").read_text(encoding="ascii") == f"{line}\n"


class TestAdmission:
    """What is kept of a request that was let in."""

    def test_tells_who_was_let_in_by_which_policy(self, caplog: pytest.LogCaptureFixture) -> None:
        """At INFO, since nothing is wrong."""
        caplog.set_level(logging.INFO, "keyfob.audit")
        request_id = Recorder().admit(ADMITTED, make_request(make_scope(path="/admin"), AT), ADDRESS)
        [said] = read(caplog)
        assert said.pop("request_id") == request_id
        assert said == EVERYTHING | {"decision": "admitted", "reason": None, "policy": "My iPhone"}
        assert [each.levelno for each in caplog.records] == [logging.INFO]

    @pytest.mark.parametrize(
        ("user", "token", "told"),
        [
            (User("me@example.com", "google", subject="7", name="Me"), None, ("me@example.com", "google", None)),
            (User("", "github", subject="7", name="Me"), None, ("github:7", "github", None)),
            (None, ServiceToken("id-t", "Nightly import"), (None, None, "Nightly import")),
        ],
    )
    def test_tells_who_has_logged_in_and_which_token_was_shown(
        self,
        user: User | None,
        token: ServiceToken | None,
        told: tuple[str | None, ...],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """By address, or by what no two people share; a name is whatever somebody likes. Beside the certificate."""
        caplog.set_level(logging.INFO, "keyfob.audit")
        identity = KNOWN._replace(user=user, service_token=token)
        recorder, request = Recorder(), make_request(make_scope())
        recorder.admit(ADMITTED._replace(identity=identity), request, ADDRESS)
        recorder.refuse(REFUSED._replace(identity=identity), request, ADDRESS)
        recorder.refuse(Login(Reason.LOGIN_REQUIRED, "Budget", identity), request, ADDRESS)
        for said in read(caplog):
            assert (said["user"], said["provider"], said["service_token"]) == told
            assert said["common_name"] == "Rhea Group"

    def test_reaches_the_file_whatever_logging_is_set_to(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Python logs nothing below WARNING unless told to."""
        caplog.set_level(logging.WARNING, "keyfob.audit")
        recorder = Recorder(Records(tmp_path / "audit.log"))
        recorder.admit(ADMITTED, make_request(make_scope()), ADDRESS)
        recorder.close()
        assert read(caplog) == []
        assert json.loads((tmp_path / "audit.log").read_text())["decision"] == "admitted"

    def test_without_a_certificate_says_why_there_is_none(self, caplog: pytest.LogCaptureFixture) -> None:
        """A policy let them in all the same."""
        caplog.set_level(logging.INFO, "keyfob.audit")
        Recorder().admit(Allow("Shop", "Everybody", UNKNOWN, opens_session=True), make_request(make_scope()), ADDRESS)
        assert [each["certificate_reason"] for each in read(caplog)] == ["certificate-missing"]


class TestFlood:
    """What is left out is counted, and told."""

    def test_is_cut_short_and_counted(self, caplog: pytest.LogCaptureFixture) -> None:
        """Nothing is missing without a word."""
        recorder, request = Recorder(), make_request(make_scope(), AT)
        for _ in range(1000):
            recorder.refuse(REFUSED, request, ADDRESS)
        recorder.refuse(REFUSED._replace(reason=Reason.HOST_UNKNOWN), request, ADDRESS)
        recorder.close()
        *kept, omitted = read(caplog)
        assert {each["decision"] for each in kept} == {"refused"}
        assert omitted == {
            "time": "2027-01-15T08:00:00.250+00:00",
            "decision": "omitted",
            "count": 1001 - len(kept),
            "since": "2027-01-15T08:00:00.250+00:00",
            "until": "2027-01-15T08:00:00.250+00:00",
            "reasons": {"no-matching-policy": 1000 - len(kept), "host-unknown": 1},
        }
        assert 0 < len(kept) < 100

    @pytest.mark.parametrize("step", [0.001, 0.01])
    def test_tells_every_few_seconds_while_it_lasts(self, step: float, caplog: pytest.LogCaptureFixture) -> None:
        """A minute of it is no minute of silence, also where nobody calls tick."""
        recorder = Recorder()
        for n in range(int(60 / step)):
            recorder.refuse(REFUSED, make_request(make_scope(), AT + n * step), ADDRESS)
        recorder.close()
        said = read(caplog)
        told = [each for each in said if each["decision"] == "omitted"]
        assert 10 <= len(told) <= 14
        assert sum(each["count"] for each in told) + len(said) - len(told) == int(60 / step)

    def test_that_has_let_up_is_told_by_the_next_tick(self, caplog: pytest.LogCaptureFixture) -> None:
        """Nobody has to knock again for it."""
        recorder, request = Recorder(), make_request(make_scope(), AT)
        for _ in range(60):
            recorder.refuse(REFUSED, request, ADDRESS)
        caplog.clear()
        recorder.tick(AT + 1)
        assert read(caplog) == []
        recorder.tick(AT + 6)
        recorder.tick(AT + 12)
        assert [(each["decision"], each["count"]) for each in read(caplog)] == [("omitted", 10)]

    def test_is_told_though_the_clock_was_put_back(self, caplog: pytest.LogCaptureFixture) -> None:
        """By an hour, during the flood."""
        recorder, request = Recorder(), make_request(make_scope(), AT)
        for _ in range(60):
            recorder.refuse(REFUSED, request, ADDRESS)
        caplog.clear()
        recorder.tick(AT - 3600)
        assert [each["count"] for each in read(caplog)] == [10]

    def test_of_handshakes_is_cut_short_as_well(self, caplog: pytest.LogCaptureFixture) -> None:
        """And leaves the refusals of others their place."""
        recorder = Recorder()
        for _ in range(300):
            recorder.refuse_handshake("certificate has expired")
        recorder.refuse(REFUSED, make_request(make_scope(), time()), ADDRESS)
        recorder.close()
        said = read(caplog)
        assert sum(each.get("reasons", {}).get("handshake-refused", 0) for each in said) > 200
        assert "no-matching-policy" in {each.get("reason") for each in said}

    def test_of_devices_after_a_restart_is_none(self, caplog: pytest.LogCaptureFixture) -> None:
        """All of them come at once, and each has its record."""
        caplog.set_level(logging.INFO, "keyfob.audit")
        recorder, authority = Recorder(), make_authority()
        devices = [ClientCertificate(make_leaf(authority).certificate, []) for _ in range(150)]
        for device in devices:
            recorder.admit(Allow("Budget", "", Identity(device, None, ())), make_request(make_scope(), AT), ADDRESS)
        assert {each["fingerprint_sha256"] for each in read(caplog)} == {each.fingerprint_sha256 for each in devices}

    @pytest.mark.parametrize("identity", [KNOWN, UNKNOWN], ids=["a device", "a visitor"])
    def test_of_admissions_is_cut_short(self, identity: Identity, caplog: pytest.LogCaptureFixture) -> None:
        """Whoever opens session after session, by whatever means, fills no disk, and silences no refusal."""
        caplog.set_level(logging.INFO, "keyfob.audit")
        recorder, request = Recorder(), make_request(make_scope(), AT)
        for _ in range(300):
            recorder.admit(Allow("Budget", "", identity, opens_session=True), request, ADDRESS)
        recorder.refuse(REFUSED, request, ADDRESS)
        recorder.close()
        *_, last, omitted = read(caplog)
        assert last["decision"] == "refused"
        assert omitted["reasons"] == {"admitted": 250}

    def test_of_admissions_is_recorded_whole_where_each_is_asked_for(self, caplog: pytest.LogCaptureFixture) -> None:
        """Somebody has to account for every single request."""
        caplog.set_level(logging.INFO, "keyfob.audit")
        recorder, request = Recorder(Records(admissions="every")), make_request(make_scope(), AT)
        for _ in range(300):
            recorder.admit(ADMITTED, request, ADDRESS)
        assert len(read(caplog)) == 300


class TestCallback:
    """Whoever wants to be told."""

    def test_gets_every_record_that_is_kept(self) -> None:
        """The very record, refusal, admission and handshake alike; logging's level is another matter."""
        told: list[AuditRecord] = []
        recorder, request = Recorder(on_decision=told.append), make_request(make_scope(path="/a\n"), AT)
        request_id = recorder.refuse(REFUSED, request, ADDRESS)
        recorder.admit(ADMITTED, request, ADDRESS)
        recorder.refuse_handshake("certificate has expired", ADDRESS)
        assert [(each.decision, each.reason) for each in told] == [
            ("refused", "no-matching-policy"),
            ("admitted", None),
            ("refused", "handshake-refused"),
        ]
        assert (told[0].request_id, told[0].path, told[0].time.timestamp()) == (request_id, "/a\n", AT)
        assert all(each.time.tzinfo is not None for each in told)

    def test_does_not_get_what_is_left_out(self) -> None:
        """A flood is no thousand notifications."""
        told: list[AuditRecord] = []
        recorder, request = Recorder(on_decision=told.append), make_request(make_scope(), AT)
        for _ in range(1000):
            recorder.refuse(REFUSED, request, ADDRESS)
        recorder.close()
        assert len(told) == 50


def test_threads_count_every_record_once(caplog: pytest.LogCaptureFixture) -> None:
    """A WSGI server has many of them."""
    recorder, request = Recorder(), make_request(make_scope(), AT)

    def flood() -> None:
        for _ in range(500):
            recorder.refuse(REFUSED, request, ADDRESS)

    threads = [threading.Thread(target=flood) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    recorder.close()
    *kept, omitted = read(caplog)
    assert (len(kept), omitted["count"]) == (50, 3950)


# Threads of the parent hold every lock there is while it forks, again and again; the children have to record all the
# same, and none may tell what its parent left out.
FORKS = """
import os, signal, sys, threading
from pathlib import Path
from exchanges import make_request, make_scope
from keyfob.audit import Recorder, Records
from keyfob.errors import Missing, Reason
from keyfob.policy import Deny, Identity

decision = Deny(Reason.HOST_UNKNOWN, sys.argv[2], "", Identity(None, Missing("-"), ()))
child = decision._replace(application="child")
recorder = Recorder(Records(Path(sys.argv[1]), largest=20_000, kept=3))
going = True

def flood():
    n = 0
    while going:
        n += 1
        recorder.refuse(decision, make_request(make_scope(), n * 10.0), None)

threads = [threading.Thread(target=flood) for _ in range(3)]
for each in threads:
    each.start()
for _ in range(15):
    pid = os.fork()
    if not pid:
        signal.alarm(30)
        recorder.refuse(child, make_request(make_scope(), 0), None)
        recorder.close()
        os._exit(0)
    if os.waitpid(pid, 0)[1]:
        print("a child got nowhere")
going = False
for each in threads:
    each.join()
print("done")
"""


def test_a_child_of_a_busy_process_records_on_its_own(tmp_path: Path) -> None:
    """As prefork servers make them; a lock that a thread of the parent held is no lock for it."""
    said = run(FORKS, tmp_path / "audit.log", "parent")
    assert said == "done\n"


TAIL = """
import os, signal, sys
from pathlib import Path
from exchanges import make_request, make_scope
from keyfob.audit import Recorder, Records
from keyfob.errors import Missing, Reason
from keyfob.policy import Deny, Identity

decision = Deny(Reason.HOST_UNKNOWN, "", "", Identity(None, Missing("-"), ()))
recorder = Recorder(Records(Path(sys.argv[1])))
for _ in range(60):
    recorder.refuse(decision, make_request(make_scope(), 0), None)
pid = os.fork()
if not pid:
    signal.alarm(30)
    recorder.refuse(decision, make_request(make_scope(), 0), None)
    recorder.close()
    os._exit(0)
os.waitpid(pid, 0)
recorder.close()
"""


def test_what_a_parent_left_out_is_told_once(tmp_path: Path) -> None:
    """By the parent: its child starts to count anew."""
    run(TAIL, tmp_path / "audit.log")
    said = [json.loads(line) for line in (tmp_path / "audit.log").read_text().splitlines()]
    assert [each["decision"] for each in said] == ["refused"] * 51 + ["omitted"]
    assert said[-1]["count"] == 10


def run(script: str, *arguments: str | Path, env: Mapping[str, str] | None = None) -> str:
    """A process of its own, because forking this one would take pytest's threads along."""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script, *map(str, arguments)]
    ended = subprocess.run(
        command, env={**environment(), **(env or {})}, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_a_recorder_of_its_own_costs_no_file(tmp_path: Path) -> None:
    """Nothing is made before there is something to write."""
    Recorder(Records(tmp_path / "audit.log")).close()
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - the names are all that matters
