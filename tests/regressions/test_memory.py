"""What a gate remembers ends when it has to, at every host, whatever the clock does."""

import threading
import time
from pathlib import Path

import pytest

import keyfob.gate
from certificates import make_authority, make_leaf
from exchanges import make_scope
from keyfob.config.files import Files
from keyfob.gate import DISORDER, Gate
from keyfob.policy import Allow, Decision
from keyfob.sources.tls import TLSSource
from keyfob.trust import Roots
from keyfob.trust.ocsp import Question
from responder import GOOD, REVOKED, make_answer
from sites import HOST, assemble, find_problems, make_site, write_application, write_document

ROOT = make_authority()
LEAF = make_leaf(ROOT)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    ROOT.write(tmp_path, "ca")
    return tmp_path


def check(gate: Gate, host: str = HOST, at: float | None = None) -> Decision:
    scope = make_scope([LEAF.pem], host=host)
    return gate.check(gate.source.receive(scope, time.time() if at is None else at))


def test_forgetting_reaches_a_host_that_was_pushed_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes back as it was forgotten, not as it was when others took its place."""
    monkeypatch.setattr(keyfob.gate, "REMEMBERED_HOSTS", 2)
    url, hosts = "http://127.0.0.1:9/", ["*.a.example.com", "*.b.example.com"]
    document = write_document(*(write_application(domain=host) for host in hosts), hosts=hosts)
    document["root_certificates"][0]["ocsp"] = url
    gate = assemble(folder, document).gate
    question = Question(LEAF.certificate, ROOT.certificate)
    gate.books[url].find(LEAF.certificate, ROOT.certificate, time.time())
    gate.books[url].answer(question, make_answer(LEAF.certificate, ROOT, status=GOOD), time.time())
    assert isinstance(check(gate, "x.a.example.com"), Allow)
    for index in range(5):
        assert isinstance(check(gate, f"h{index}.b.example.com"), Allow)
    gate.books[url].answer(question, make_answer(LEAF.certificate, ROOT, status=REVOKED), time.time())
    gate.forget()
    for host in ("x.a.example.com", "h4.b.example.com"):
        assert not isinstance(check(gate, host), Allow)


def test_forgetting_waits_for_a_host_that_is_being_found() -> None:
    """Found before and entered after, it would be the one that kept its verdicts."""
    site = make_site(Roots((ROOT.certificate,), ()))

    def forget() -> None:
        gate.forget()

    forgetting = threading.Thread(target=forget, daemon=True)

    def find(_: str) -> keyfob.gate.Site:
        forgetting.start()
        forgetting.join(0.2)
        return site

    gate = Gate(TLSSource(), {}, Roots((), ()), find)
    assert gate.find_site(HOST) is site
    forgetting.join()
    assert site.forgotten == 1


def test_a_verdict_is_not_used_before_its_moment(folder: Path) -> None:
    """But a request that another thread overtook is no reason to look again."""
    gate = assemble(folder, write_document()).gate
    now = time.time()
    assert isinstance(check(gate, at=now), Allow)
    site = gate.find_site(HOST)
    assert site is not None
    assert isinstance(check(gate, at=now + 1), Allow)
    not_before, _, decision, _ = next(iter(site.known.values()))
    assert decision is not None
    assert now - DISORDER <= not_before <= now


@pytest.mark.parametrize("written", ["15", "abc", "0s", "15 minutes", "", "-15m", 900, True, None])
def test_a_session_has_a_duration(folder: Path, written: object) -> None:
    """Whoever writes something else means one, and gets none of which he knows."""
    [problem] = find_problems(folder, write_document(audit={"session": written}))
    assert problem.place == "audit.session"
    assert "is no duration" in problem.message


def test_a_file_of_this_moment_is_read_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that were written in one tick of the clock have the same stamp, and need not be the same."""
    monkeypatch.setattr("keyfob.config.files.TICK", 10**15)
    path, files = folder / "list", Files()
    for text in ("first", "other"):
        path.write_text(text)
        files.begin()
        assert files.parse(path, "text", Path.read_text) == text
        files.finish()


def test_forgetting_reaches_a_pushed_out_host_that_somebody_holds(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that is under way, or the traceback of a refusal, keeps it alive; it may come back."""
    monkeypatch.setattr(keyfob.gate, "REMEMBERED_HOSTS", 2)
    hosts = ["*.a.example.com", "*.b.example.com"]
    gate = assemble(folder, write_document(*(write_application(domain=host) for host in hosts), hosts=hosts)).gate
    held = gate.find_site("x.a.example.com")
    assert held is not None
    assert isinstance(check(gate, "x.a.example.com"), Allow)
    for index in range(3):
        check(gate, f"h{index}.b.example.com")
    gate.forget()
    assert gate.find_site("x.a.example.com") is held
    assert held.known == {}
