"""A withdrawal has no way around it: not by another root entry, an older list, a stale answer or a fork."""

import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.ocsp import OCSPCertStatus

from certificates import DAY, Pair, make_authority, make_certificate, make_leaf, make_name
from exchanges import make_scope
from keyfob.config.files import Files
from keyfob.errors import ConfigError, Reason
from keyfob.gate import Gate
from keyfob.live.responders import Responders
from keyfob.policy import Allow
from keyfob.trust.ocsp import Question, ResponseBook
from responder import GOOD, REVOKED, answering, make_answer, wait_until
from revocations import make_list, write_pem
from sites import HOST, assemble, find_problems, write_document

AUTHORITY = [(x509.BasicConstraints(ca=True, path_length=None), True)]
URL = "http://127.0.0.1:9/"

OLD = make_authority("Root")
RENEWED = make_certificate(make_name("Root"), None, AUTHORITY, key=OLD.key, ends=300 * DAY)
PHONE = make_leaf(OLD)

FIRST, SECOND = make_authority("First"), make_authority("Second")
BETWEEN = make_authority("Between", FIRST)
CROSSED = make_certificate(make_name("Between"), SECOND, AUTHORITY, key=BETWEEN.key)
TABLET = make_leaf(BETWEEN)


def write_roots(folder: Path, *roots: Pair, **first: Any) -> dict[str, Any]:
    """A document with an entry for each root; `first` is what the first of them says about withdrawal."""
    entries = []
    for index, root in enumerate(roots):
        root.write(folder, f"ca{index}")
        entries.append({"name": f"r{index}", "certificate": f"ca{index}.pem", "associated_hostnames": [HOST]})
    entries[0] |= first
    return write_document(root_certificates=entries)


def turn(document: Mapping[str, Any]) -> dict[str, Any]:
    """The same with its root entries the other way round."""
    return {**document, "root_certificates": document["root_certificates"][::-1]}


def ask(gate: Gate, *chain: Pair) -> str | None:
    """Why a device is refused, None if it is not."""
    scope = make_scope([each.pem for each in chain])
    decision = gate.check(gate.source.receive(scope, time.time()))
    return None if isinstance(decision, Allow) else decision.reason


def tell(book: ResponseBook, pair: Pair, issuer: Pair, status: OCSPCertStatus, **more: Any) -> None:
    """Has a responder answer about a certificate."""
    book.find(pair.certificate, issuer.certificate, time.time())
    question = Question(pair.certificate, issuer.certificate)
    book.answer(question, make_answer(pair.certificate, issuer, status=status, **more), time.time())


# --- Two entries on one host ------------------------------------------------------------------------------------------

WAYS = {
    "a renewed root": (OLD, RENEWED, PHONE, OLD, [PHONE]),
    "a cross-signed authority": (FIRST, SECOND, TABLET, BETWEEN, [TABLET, CROSSED]),
    "the straight way": (FIRST, SECOND, TABLET, BETWEEN, [TABLET, BETWEEN]),
}


@pytest.fixture(params=[False, True], ids=["first", "last"])
def last(request: pytest.FixtureRequest) -> bool:
    """Whether the entry that withdraws stands behind the other."""
    return bool(request.param)


@pytest.mark.parametrize("way", WAYS)
def test_our_own_list_counts_for_paths_to_another_entrys_root(tmp_path: Path, way: str, last: bool) -> None:
    """Whoever has two ways to a root of the host does not choose the list."""
    root, other, device, _, chain = WAYS[way]
    (tmp_path / "revoked.txt").write_text(f"{make_leaf(root).certificate.serial_number:X}\n")
    document = write_roots(tmp_path, root, other, revoked="revoked.txt")
    document = turn(document) if last else document
    assert ask(assemble(tmp_path, document).gate, *chain) is None
    (tmp_path / "revoked.txt").write_text(f"{device.certificate.serial_number:X}\n")
    assert ask(assemble(tmp_path, document).gate, *chain) is Reason.CERTIFICATE_REVOKED


def test_an_authority_on_our_own_list_has_none_below_another_root(tmp_path: Path, last: bool) -> None:
    """The cross-signed certificate has a serial number of its own, and is withdrawn by that."""
    (tmp_path / "revoked.txt").write_text(f"{CROSSED.certificate.serial_number:X}\n")
    document = write_roots(tmp_path, FIRST, SECOND, revoked="revoked.txt")
    gate = assemble(tmp_path, turn(document) if last else document).gate
    assert ask(gate, TABLET, CROSSED) is Reason.CERTIFICATE_REVOKED
    assert ask(gate, TABLET, BETWEEN) is None


@pytest.mark.parametrize("way", WAYS)
def test_a_responders_word_counts_for_paths_to_another_entrys_root(tmp_path: Path, way: str, last: bool) -> None:
    """It is about a serial number under a key, whoever else has signed that key."""
    root, other, device, issuer, chain = WAYS[way]
    document = write_roots(tmp_path, root, other, ocsp=URL, ocsp_unavailable="warn")
    gate = assemble(tmp_path, turn(document) if last else document).gate
    assert ask(gate, *chain) is None
    tell(gate.books[URL], device, issuer, REVOKED)
    gate.forget()
    assert ask(gate, *chain) is Reason.CERTIFICATE_REVOKED


# --- Answers and lists ------------------------------------------------------------------------------------------------


def test_an_answer_rests_an_hour_at_most_in_a_verdict(tmp_path: Path) -> None:
    """The book may have dropped it meanwhile, and nobody would ask again for the rest of a week."""
    gate = assemble(tmp_path, write_roots(tmp_path, OLD, ocsp=URL)).gate
    now = time.time()
    tell(gate.books[URL], PHONE, OLD, GOOD, ends=7 * DAY)
    site = gate.find_site(HOST)
    assert site is not None
    certificate, _, until = site.verifier.verify([PHONE.pem], now)
    assert certificate.common_name == "Rhea Group"
    assert now < until <= now + 3600


def test_two_lists_of_one_signer_may_be_of_different_times(tmp_path: Path) -> None:
    """In one file, in any round: neither is the other one's older state."""
    lists = [make_list(OLD, [make_leaf(OLD)], begins=-DAY / 2), make_list(OLD, begins=-DAY)]
    (tmp_path / "ca.crl").write_bytes(write_pem(*lists))
    document, files = write_roots(tmp_path, OLD, crl=["ca.crl"]), Files()
    for _ in range(2):
        files.begin()
        assert ask(assemble(tmp_path, document, files).gate, PHONE) is None
        files.finish()
        (tmp_path / "ca.crl").write_bytes(write_pem(lists[0], make_list(OLD, begins=-DAY / 3)))


def test_a_list_is_not_reused_for_a_root_that_has_not_signed_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A root of the same name with another key, in the same file: nobody has verified the list by that."""
    monkeypatch.setattr("keyfob.config.files.TICK", 0)
    (tmp_path / "ca.crl").write_bytes(make_list(OLD))
    document, files = write_roots(tmp_path, OLD, crl=["ca.crl"]), Files()
    assemble(tmp_path, document, files)
    files.finish()
    files.begin()
    make_authority("Root").write(tmp_path, "ca0")
    with pytest.raises(ConfigError, match=r"root_certificates\[0\].crl"):
        assemble(tmp_path, document, files)


@pytest.mark.parametrize(("word", "needs"), [("crl_expired", "crl"), ("ocsp_unavailable", "ocsp")])
def test_a_word_that_says_how_needs_the_one_that_says_what(tmp_path: Path, word: str, needs: str) -> None:
    """Whoever wrote it takes withdrawals to be looked at."""
    [problem] = find_problems(tmp_path, write_roots(tmp_path, OLD, **{word: "warn"}))
    assert problem.place == f"root_certificates[0].{word}"
    assert problem.message == f"goes with {needs} alone"


# --- A fork that tells nobody -----------------------------------------------------------------------------------------


def test_a_child_asks_although_nobody_told_it_of_its_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    """No thread has come along, and one that has not holds whatever it held, for ever."""
    with answering(OLD, PHONE) as responder:
        book = ResponseBook()
        responders = Responders({responder.url: book})
        beginning = threading.Thread(target=responders.start, daemon=True)
        try:
            with book.lock, responders.lines[0].condition:
                monkeypatch.setattr(os, "getpid", lambda: -1)
                beginning.start()
                beginning.join(10)
                assert not beginning.is_alive()
                wait_until(lambda: book.find(PHONE.certificate, OLD.certificate, time.time()))
        finally:
            responders.stop()


def test_an_older_list_is_not_taken_because_it_comes_twice(tmp_path: Path) -> None:
    """However many lists a file has, and in whatever order they stand."""
    older, newer = make_list(OLD, begins=-DAY), make_list(OLD, [PHONE], begins=-DAY / 2)
    document, files = write_roots(tmp_path, OLD, crl=["ca.crl"]), Files()
    for lists in ([newer], [newer, older], [older, newer]):
        (tmp_path / "ca.crl").write_bytes(write_pem(*lists))
        files.begin()
        assert ask(assemble(tmp_path, document, files).gate, PHONE) is Reason.CERTIFICATE_REVOKED
        files.finish()
    (tmp_path / "ca.crl").write_bytes(write_pem(older, older))
    files.begin()
    with pytest.raises(ConfigError, match="older than the list that is in force"):
        assemble(tmp_path, document, files)
