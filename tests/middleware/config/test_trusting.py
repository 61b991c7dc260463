"""config.trusting: which host believes whom, and what has been withdrawn."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certificates import DAY, Pair, make_authority, make_leaf
from keyfob.config.files import TICK, Files
from keyfob.config.trusting import Trusted, Trustee
from keyfob.errors import ConfigError, Revoked, StatusUnknown, Untrusted
from keyfob.inventory import RevocationReason, open_inventory
from keyfob.inventory.records import make_entry
from keyfob.policy.domains import covers
from keyfob.trust import Roots, Verifier
from keyfob.trust.withdrawals import GRACE
from revocations import make_list, write_pem
from servers import environment
from sites import HOST, assemble, find_problems, write_application, write_document

ROOT, OTHER = make_authority("Root"), make_authority("Other")
BETWEEN = make_authority("Between", ROOT)
LEAF, SECOND, THEIRS = make_leaf(ROOT), make_leaf(ROOT, "Second"), make_leaf(OTHER)
NOW = LEAF.certificate.not_valid_before_utc.timestamp() + 43_200


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "ca.pem").write_text(ROOT.pem)
    (tmp_path / "other.pem").write_text(OTHER.pem)
    (tmp_path / "ca.crl").write_bytes(make_list(ROOT, [SECOND]))
    with open_inventory(tmp_path / "inventory.db", create=True) as inventory:
        inventory.add([make_entry("Second", SECOND.certificate, ROOT.certificate, NOW)])
        inventory.revoke([inventory.find("Second")[0].record], RevocationReason.KEY_COMPROMISE, NOW)
    return tmp_path


def write_root(certificate: str = "ca.pem", *hosts: str, name: str = "", **changes: Any) -> dict[str, Any]:
    named = name or certificate
    return {"name": named, "certificate": certificate, "associated_hostnames": [*hosts] or [HOST]} | changes


def trust(folder: Path, *roots: dict[str, Any]) -> Trusted:
    return assemble(folder, write_document(root_certificates=[*roots])).trusted


def verify(verifier: Verifier, leaf: Pair, *above: Pair) -> bool:
    try:
        verifier.verify([each.pem for each in (leaf, *above)], NOW)
    except Untrusted:
        return False
    return True


# --- Hosts ------------------------------------------------------------------------------------------------------------


def test_several_roots_each_with_its_hosts(folder: Path) -> None:
    """One root on several hosts, several on one, and hosts that a wildcard covers one level deep."""
    trusted = trust(
        folder, write_root("ca.pem", HOST, "a.example", "*.b.example"), write_root("other.pem", HOST, "x.b.example")
    )
    believed = {
        host: (verify(trusted.at_host(host), LEAF), verify(trusted.at_host(host), THEIRS))
        for host in (HOST, "a.example", "y.b.example", "x.b.example", "b.example", "z.y.b.example", "elsewhere.example")
    }
    assert believed == {
        HOST: (True, True),
        "a.example": (True, False),
        "y.b.example": (True, False),
        "x.b.example": (True, True),
        "b.example": (False, False),
        "z.y.b.example": (False, False),
        "elsewhere.example": (False, False),
    }


def test_hosts_that_believe_the_same_share_a_verifier(folder: Path) -> None:
    """However many of them anybody asks for."""
    trusted = trust(folder, write_root("ca.pem", "*.example.com"), write_root("other.pem", "b.example.com"))
    assert trusted.at_host("a.example.com") is trusted.at_host("c.example.com")
    assert trusted.at_host("a.example.com") is not trusted.at_host("b.example.com")
    for number in range(100):
        trusted.at_host(f"a{number}.example.com")
    assert len(trusted._verifiers) == 2


LABELS = st.sampled_from(["a", "b", "*", "a*", "*b"])
HOSTS = st.lists(LABELS, min_size=1, max_size=2).map(lambda labels: ".".join([*labels, "example"]))


@given(st.lists(st.lists(HOSTS, min_size=1, max_size=3), max_size=4), HOSTS)
def test_the_entries_of_a_host_are_those_that_cover_it(hosts: list[list[str]], host: str) -> None:
    """As if each had been compared, one after the other."""
    nothing = Roots((), ())
    trusted = Trusted([Trustee(str(number), tuple(each), nothing, (), None, {}) for number, each in enumerate(hosts)])
    covering = tuple(number for number, each in enumerate(hosts) if any(covers(pattern, host) for pattern in each))
    assert trusted._choose(host) == covering
    either = any(covers(mine, host) or covers(host, mine) for each in hosts for mine in each)
    assert trusted.knows(host) is either


def test_every_root_is_what_a_tls_layer_has_to_know(folder: Path) -> None:
    """Each once, with the intermediates beside them, for whichever host."""
    (folder / "both.pem").write_text(BETWEEN.pem + ROOT.pem)
    trusted = trust(
        folder,
        write_root("ca.pem", "a.example"),
        write_root("both.pem"),
        write_root("other.pem", "b.example"),
    )
    assert set(trusted.roots.anchors) == {ROOT.certificate, OTHER.certificate}
    assert trusted.roots.intermediates == (BETWEEN.certificate,)
    assert verify(trusted.at_host(HOST), make_leaf(BETWEEN))
    assert not verify(trusted.at_host("a.example"), make_leaf(BETWEEN))
    assert verify(trusted.at_host("a.example"), make_leaf(BETWEEN), BETWEEN)


def test_an_application_of_devices_needs_a_root_for_each_of_its_hosts(folder: Path) -> None:
    """A wildcard needs one for at least some host that it covers."""
    application = write_application(domain="*.example.com", self_hosted_domains=["lone.example"])
    for hosts, missing in [
        (["*.example.com"], "lone.example"),
        (["a.example.com", "lone.example"], ""),
        (["example.com", "lone.example"], "*.example.com"),
    ]:
        document = write_document(application, root_certificates=[write_root("ca.pem", *hosts)])
        if missing:
            [problem] = find_problems(folder, document)
            assert problem.place == "applications[0].domain"
            assert problem.message == f"no root certificate is associated with {missing}"
        else:
            assemble(folder, document)


# --- Withdrawal -------------------------------------------------------------------------------------------------------


def test_lists_of_an_entry_withdraw_what_it_vouches_for(folder: Path) -> None:
    """DER and PEM, several in one file or in several."""
    (folder / "third.crl").write_bytes(write_pem(make_list(ROOT, [LEAF]), make_list(ROOT, [SECOND])))
    verifier = trust(folder, write_root(crl=["ca.crl"])).at_host(HOST)
    assert verify(verifier, LEAF)
    with pytest.raises(Revoked):
        verify(verifier, SECOND)
    with pytest.raises(Revoked):
        verify(trust(folder, write_root(crl=["ca.crl", "third.crl"])).at_host(HOST), LEAF)


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("other", [{}, {"revoked": "empty.txt"}])
def test_two_entries_with_one_root_both_count(folder: Path, order: int, other: dict[str, str]) -> None:
    """Whichever of them has the list: the stricter one cannot be got around by the other."""
    (folder / "empty.txt").write_text("")
    entries = [write_root(crl=["ca.crl"]), write_root(name="x", **other)][::order]
    verifier = trust(folder, *entries).at_host(HOST)
    assert verify(verifier, LEAF)
    with pytest.raises(Revoked):
        verify(verifier, SECOND)


def test_a_list_counts_for_the_hosts_of_its_entry(folder: Path) -> None:
    """Another entry's hosts have lists of their own, or none."""
    trusted = trust(folder, write_root(crl=["ca.crl"]), write_root("ca.pem", "open.example", name="x"))
    assert verify(trusted.at_host("open.example"), SECOND)


def test_our_own_list_withdraws_by_serial_number(folder: Path) -> None:
    """As `openssl x509 -serial` prints it; and an empty one withdraws nobody."""
    (folder / "revoked.txt").write_text(f"# lost\nserial={SECOND.certificate.serial_number:X}\n")
    (folder / "empty.txt").write_text("")
    verifier = trust(folder, write_root(revoked="revoked.txt")).at_host(HOST)
    assert verify(verifier, LEAF)
    with pytest.raises(Revoked):
        verify(verifier, SECOND)
    assert verify(trust(folder, write_root(revoked="empty.txt")).at_host(HOST), SECOND)


@pytest.mark.parametrize("word", ["refuse", None])
def test_a_responder_that_has_not_answered_leaves_everybody_outside(folder: Path, word: str | None) -> None:
    """Unless the configuration says that a warning is enough. Nobody waits for the answer."""
    responder = {"ocsp": "http://127.0.0.1:9/"}
    closed = trust(folder, write_root(**responder, **({"ocsp_unavailable": word} if word else {})))
    with pytest.raises(StatusUnknown):
        verify(closed.at_host(HOST), LEAF)
    assert verify(trust(folder, write_root(**responder, ocsp_unavailable="warn")).at_host(HOST), LEAF)
    assert list(closed.books) == ["http://127.0.0.1:9/"]


def test_a_list_past_its_time_is_refused_unless_a_warning_is_enough(folder: Path) -> None:
    """Then its entries still count."""
    (folder / "old.crl").write_bytes(make_list(ROOT, [SECOND], begins=-9 * DAY, ends=-5 * DAY))
    with pytest.raises(StatusUnknown):
        verify(trust(folder, write_root(crl=["old.crl"])).at_host(HOST), LEAF)
    lenient = trust(folder, write_root(crl=["old.crl"], crl_expired="warn")).at_host(HOST)
    assert verify(lenient, LEAF)
    with pytest.raises(Revoked):
        verify(lenient, SECOND)


def test_an_inventory_withdraws_by_serial_number(folder: Path) -> None:
    """It stands beside the configuration, and whom it does not know is not refused."""
    trusted = trust(folder, write_root(inventory="inventory.db"))
    assert verify(trusted.at_host(HOST), LEAF)
    with pytest.raises(Revoked, match=r"inventory\.db"):
        verify(trusted.at_host(HOST), SECOND)
    [(where, book)] = trusted.withdrawals.items()
    assert where == str(folder / "inventory.db")
    assert trusted.find_troubles(NOW) == []
    book.trouble = "the disk is gone"
    assert trusted.find_troubles(NOW) == ["the disk is gone"]


@pytest.mark.parametrize("word", ["refuse", None, "warn"])
def test_an_inventory_that_nobody_looks_into_leaves_everybody_outside(folder: Path, word: str | None) -> None:
    """Unless the configuration says that a warning is enough."""
    trusted = trust(folder, write_root(inventory="inventory.db", **({"inventory_unavailable": word} if word else {})))
    [book] = trusted.withdrawals.values()
    book.confirm(1, None, book.clock() - GRACE)
    if word == "warn":
        assert verify(trusted.at_host(HOST), LEAF)
    else:
        with pytest.raises(StatusUnknown, match="inventory"):
            verify(trusted.at_host(HOST), LEAF)
    with pytest.raises(Revoked):
        verify(trusted.at_host(HOST), SECOND)


def test_the_book_of_an_inventory_outlives_its_configuration(folder: Path) -> None:
    """A database that is out of reach for a moment is in the way of no other change; two entries share a book."""
    files = Files()

    def read(*names: str) -> list[object]:
        files.begin()
        entries = [write_root(inventory="inventory.db", name=name) for name in names]
        trusted = assemble(folder, write_document(root_certificates=entries), files).trusted
        files.finish()
        return [*trusted.withdrawals.values()]

    [first] = read("one")
    (folder / "inventory.db").rename(folder / "aside")
    assert read("one", "two") == [first]


def test_an_inventory_is_found_after_the_process_went_elsewhere(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Daemons do; the path counts from where the process began."""
    monkeypatch.chdir(folder)
    document = write_document(root_certificates=[write_root(inventory="inventory.db")])
    trusted = assemble(Path(), document, Files()).trusted
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert [Path(where) for where in trusted.withdrawals] == [folder / "inventory.db"]


def test_an_inventory_that_cannot_be_read_is_tried_again(folder: Path) -> None:
    """No file's stamp tells when a database is back."""
    files = Files()
    with pytest.raises(ConfigError):
        assemble(folder, write_document(root_certificates=[write_root(inventory="gone.db")]), files)
    assert files.hindered


@pytest.mark.parametrize("package", ["sqlalchemy", "psycopg"])
def test_what_an_inventory_needs_is_named(folder: Path, package: str) -> None:
    """With the command that installs it. In a process of its own, since it may have been imported here."""
    place = "inventory.db" if package == "sqlalchemy" else "postgresql://localhost/inventory"
    document = write_document(root_certificates=[write_root(inventory=place)])
    (folder / "access.json").write_text(json.dumps(document))
    script = f"import sys; sys.modules[{package!r}] = None; import keyfob; keyfob.load_gate('access.json')"
    said = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )
    extra = "inventory" if package == "sqlalchemy" else "postgresql"
    assert "root_certificates[0].inventory" in said.stderr
    assert f"pip install 'keyfob[{extra}]'" in said.stderr


# --- What is wrong ----------------------------------------------------------------------------------------------------

BROKEN: dict[str, tuple[dict[str, Any], str, str]] = {
    "crl_expired without crl": ({"crl_expired": "warn"}, "crl_expired", "goes with crl alone"),
    "ocsp_unavailable without ocsp": ({"ocsp_unavailable": "warn"}, "ocsp_unavailable", "goes with ocsp alone"),
    "no such word": ({"crl": ["ca.crl"], "crl_expired": "ignore"}, "crl_expired", "not one of its values"),
    "no such list": ({"crl": ["gone.crl"]}, "crl", "gone.crl"),
    "a list that is none": ({"crl": ["ca.pem"]}, "crl", "ca.pem"),
    "somebody else's list": ({"crl": ["other.crl"]}, "crl", "other.crl"),
    "a list with a NUL in its name": ({"crl": ["a\0.crl"]}, "crl", "embedded null"),
    "no such list of our own": ({"revoked": "gone.txt"}, "revoked", "gone.txt"),
    "a list of our own that is none": ({"revoked": "ca.pem"}, "revoked", "line 1"),
    "no such inventory": ({"inventory": "gone.db"}, "inventory", "gone.db is missing"),
    "an inventory that is none": ({"inventory": "ca.pem"}, "inventory", "ca.pem"),
    "a folder for an inventory": ({"inventory": "."}, "inventory", ""),
    "an inventory with a NUL in its name": ({"inventory": "a\0.db"}, "inventory", ""),
    "another kind of database": ({"inventory": "mysql://localhost/x"}, "inventory", "mysql:// is no inventory"),
    "no such server": ({"inventory": "postgresql:///x?host=/nowhere"}, "inventory", "cannot be used"),
    "inventory_unavailable without inventory": (
        {"inventory_unavailable": "warn"},
        "inventory_unavailable",
        "goes with inventory alone",
    ),
    "no word for an inventory": (
        {"inventory": "inventory.db", "inventory_unavailable": "ignore"},
        "inventory_unavailable",
        "not one of its values",
    ),
    "no responder": ({"ocsp": "ocsp.example.com"}, "ocsp", ""),
    "a responder without a host": ({"ocsp": "http://"}, "ocsp", ""),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_cannot_be_obeyed_is_refused(folder: Path, case: str) -> None:
    """With its place and a hint."""
    (folder / "other.crl").write_bytes(make_list(OTHER))
    changes, place, said = BROKEN[case]
    found = find_problems(folder, write_document(root_certificates=[write_root(**changes)]))
    assert [each.place for each in found] == [f"root_certificates[0].{place}"]
    assert said in found[0].message
    assert found[0].hint


def test_a_list_is_read_once_while_it_stays_the_same(folder: Path) -> None:
    """A million entries are not read again for a change elsewhere; a changed root reads them anew."""
    files = Files()
    document = write_document(root_certificates=[write_root(crl=["ca.crl"])])

    def read() -> object:
        files.begin()
        [trustee] = assemble(folder, document, files).trusted.trustees
        files.finish()
        return trustee.lists[0]

    # What was written a moment ago is read again in any case, since its stamp could stay the same.
    time.sleep(2 * TICK / 1e9)
    first = read()
    assert read() is first
    (folder / "ca.pem").write_text(ROOT.pem + OTHER.pem)
    assert read() is not first
