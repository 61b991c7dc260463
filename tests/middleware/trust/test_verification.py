"""trust.verification: does a chain lead to a root of this host, now, for a TLS client?"""

import subprocess
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from certificates import CLIENT, DAY, SERVER, Pair, make_authority, make_certificate, make_leaf, make_name
from keyfob.errors import (
    CertificateError,
    Expired,
    Malformed,
    NotYetValid,
    Revoked,
    StatusUnknown,
    Untrusted,
    WrongPurpose,
)
from keyfob.trust import Revocation, Roots, Verifier, read_crls, read_roots
from revocations import make_list, write_pem
from servers import find_program

ROOT = make_authority("Root")
INTERMEDIATE = make_authority("Intermediate", ROOT)
OTHER = make_authority("Root")  # Another authority of the very same name.
SHORT = make_authority("Short", path_length=0)
UNDER_SHORT = make_authority("Under short", SHORT)
SERVERS_ONLY = make_authority("Servers", ROOT, extensions=[(x509.ExtendedKeyUsage([SERVER]), False)])
NOT_SIGNING = make_authority(
    "Not signing",
    ROOT,
    extensions=[(x509.KeyUsage(True, False, False, False, False, False, True, False, False), True)],
)
CONSTRAINED = make_authority(
    "Constrained", extensions=[(x509.NameConstraints([x509.DNSName("ok.example")], None), True)]
)
ENDED = make_authority("Ended", ROOT, ends=-DAY / 2)


DEVICE = make_leaf(INTERMEDIATE)
FOR_AUTHORITIES = x509.IssuingDistributionPoint(None, None, False, True, None, False, False), True
FOR_SOME = (
    x509.IssuingDistributionPoint(None, None, False, False, frozenset({x509.ReasonFlags.key_compromise}), False, False),
    True,
)
A_PART = (
    x509.IssuingDistributionPoint(
        [x509.UniformResourceIdentifier("http://crl.example.com/1")], None, False, False, None, False, False
    ),
    True,
)


def alternative(*names: str, critical: bool = False) -> tuple[x509.ExtensionType, bool]:
    return x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical


def usage(*, sign: bool = False, agree: bool = False, encipher: bool = True) -> tuple[x509.ExtensionType, bool]:
    return x509.KeyUsage(sign, False, encipher, False, agree, False, False, False, False), True


def verifier(*roots: Pair, beside: Sequence[Pair] = ()) -> Verifier:
    return Verifier(Roots(tuple(each.certificate for each in roots), tuple(each.certificate for each in beside)))


def verify(chain: Sequence[Pair], *roots: Pair, beside: Sequence[Pair] = (), at: float | None = None) -> str | None:
    """The accepted certificate's common name."""
    verified = verifier(*(roots or (ROOT,)), beside=beside).verify([each.pem for each in chain], at or time.time())
    return verified.certificate.common_name


ACCEPTED = {
    "plain": ([make_leaf(ROOT)], [ROOT]),
    "no extended key usage": ([make_leaf(ROOT, usages=None)], [ROOT]),
    "client and server": ([make_leaf(ROOT, usages=[SERVER, CLIENT])], [ROOT]),
    "no alternative name": ([make_leaf(ROOT, extensions=[])], [ROOT]),
    "empty dNSName": ([make_leaf(ROOT, extensions=[alternative("")])], [ROOT]),
    "critical alternative name": ([make_leaf(ROOT, extensions=[alternative("a.example", critical=True)])], [ROOT]),
    "RSA": ([make_leaf(ROOT, key=rsa.generate_private_key(65537, 2048))], [ROOT]),
    "no basic constraints": ([make_certificate(make_name("Rhea Group"), ROOT, [])], [ROOT]),
    "intermediate sent": ([make_leaf(INTERMEDIATE), INTERMEDIATE], [ROOT]),
    "root sent as well": ([make_leaf(INTERMEDIATE), INTERMEDIATE, ROOT], [ROOT]),
    "strangers sent as well": ([make_leaf(ROOT), OTHER, SHORT], [ROOT]),
    "second root": ([make_leaf(ROOT)], [CONSTRAINED, ROOT]),
    "name within its constraint": ([make_leaf(CONSTRAINED, extensions=[alternative("a.ok.example")])], [CONSTRAINED]),
    "key usage signs": ([make_leaf(ROOT, extensions=[usage(sign=True)])], [ROOT]),
    "key usage agrees": ([make_leaf(ROOT, extensions=[usage(agree=True)])], [ROOT]),
}

CRITICAL = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")

REFUSED: dict[str, tuple[list[Pair], list[Pair], type[CertificateError]]] = {
    "another authority": ([make_leaf(make_authority("Stranger"))], [ROOT], Untrusted),
    "another authority of the same name": ([make_leaf(OTHER)], [ROOT], Untrusted),
    "self-signed": ([make_leaf(None)], [ROOT], Untrusted),
    "self-signed, own root sent along": ([make_leaf(OTHER), OTHER], [ROOT], Untrusted),
    "intermediate not sent": ([make_leaf(INTERMEDIATE)], [ROOT], Untrusted),
    "issued by a leaf": ([make_leaf(make_leaf(ROOT)), make_leaf(ROOT)], [ROOT], Untrusted),
    "path too long": ([make_leaf(UNDER_SHORT), UNDER_SHORT], [SHORT], Untrusted),
    "authority for servers": ([make_leaf(SERVERS_ONLY), SERVERS_ONLY], [ROOT], Untrusted),
    "authority may not sign": ([make_leaf(NOT_SIGNING), NOT_SIGNING], [ROOT], Untrusted),
    "authority has ended": ([make_leaf(ENDED), ENDED], [ROOT], Untrusted),
    "name outside its constraint": (
        [make_leaf(CONSTRAINED, extensions=[alternative("x.bad")])],
        [CONSTRAINED],
        Untrusted,
    ),
    "unknown critical extension": ([make_leaf(ROOT, extensions=[(CRITICAL, True)])], [ROOT], Untrusted),
    "weak key": ([make_leaf(ROOT, key=rsa.generate_private_key(65537, 1024))], [ROOT], Untrusted),  # noqa: S505 - that is the point
    "weak curve": ([make_leaf(ROOT, key=ec.generate_private_key(ec.SECP224R1()))], [ROOT], Untrusted),
    "server only": ([make_leaf(ROOT, usages=[SERVER])], [ROOT], WrongPurpose),
    "any usage alone": ([make_leaf(ROOT, usages=[ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])], [ROOT], WrongPurpose),
    "the root itself": ([ROOT], [ROOT], WrongPurpose),
    "an intermediate itself": ([INTERMEDIATE], [ROOT], WrongPurpose),
    "key usage without signing": ([make_leaf(ROOT, extensions=[usage()])], [ROOT], WrongPurpose),
    "expired": ([make_leaf(ROOT, begins=-2 * DAY, ends=-DAY)], [ROOT], Expired),
    "not yet valid": ([make_leaf(ROOT, begins=DAY, ends=2 * DAY)], [ROOT], NotYetValid),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_a_devices_certificate_is_accepted(case: str) -> None:
    """What private authorities really issue gets in."""
    chain, roots = ACCEPTED[case]
    assert verify(chain, *roots) == "Rhea Group"


@pytest.mark.parametrize("case", REFUSED)
def test_everything_else_is_refused_with_its_reason(case: str) -> None:
    """Each wrong certificate fails for what is wrong with it."""
    chain, roots, error = REFUSED[case]
    with pytest.raises(error):
        verify(chain, *roots)


# Where the two judges differ, and why that is wanted.
DIFFERS_FROM_OPENSSL = {
    "the root itself": "OpenSSL lets a trusted root vouch for itself; an authority's key is no device",
    "an intermediate itself": "the same for one below it",
    "weak curve": "the same",
    "weak key": "OpenSSL's default level for verification accepts RSA 1024",
}


@pytest.mark.parametrize("case", [*ACCEPTED, *REFUSED])
def test_openssl_judges_the_same(case: str, tmp_path: Path) -> None:
    """Two independent implementations agree on every chain above, but for the listed differences."""
    chain, roots = (ACCEPTED.get(case) or REFUSED[case])[:2]
    (tmp_path / "roots.pem").write_text("".join(each.pem for each in roots))
    (tmp_path / "leaf.pem").write_text(chain[0].pem)
    (tmp_path / "sent.pem").write_text("".join(each.pem for each in chain[1:]))
    command = [
        find_program("openssl", "openssl"),
        "verify",
        "-purpose",
        "sslclient",
        "-no-CApath",
        "-no-CAstore",
        "-CAfile",
        "roots.pem",
    ]
    command += ["-untrusted", "sent.pem"] if chain[1:] else []
    said = subprocess.run([*command, "leaf.pem"], cwd=tmp_path, capture_output=True, text=True, check=False)
    agrees = (said.returncode == 0) == (case in ACCEPTED)
    assert agrees or DIFFERS_FROM_OPENSSL.get(case), said.stdout + said.stderr


def test_intermediates_may_stand_beside_the_root() -> None:
    """Then a device need not send them."""
    assert verify([make_leaf(INTERMEDIATE)], ROOT, beside=[INTERMEDIATE]) == "Rhea Group"


def test_a_host_without_roots_believes_nobody() -> None:
    """An empty store is not an open door."""
    with pytest.raises(Untrusted, match="no root"):
        Verifier(Roots((), ())).verify([make_leaf(ROOT).pem], time.time())


def test_a_verdict_ends_with_the_first_certificate_on_the_path() -> None:
    """The window is that of the whole path, not of the leaf."""
    short = make_authority("Short lived", ROOT, begins=-timedelta(hours=2), ends=timedelta(hours=3))
    leaf = make_leaf(short, begins=-DAY, ends=30 * DAY)
    verified = verifier(ROOT).verify([leaf.pem, short.pem], time.time())
    assert verified.not_before == short.certificate.not_valid_before_utc.timestamp()
    assert verified.not_after == short.certificate.not_valid_after_utc.timestamp()


def test_the_moment_is_the_requests_own() -> None:
    """The same chain, asked at another time, is another question."""
    leaf = make_leaf(ROOT)
    end = leaf.certificate.not_valid_after_utc.timestamp()
    assert verify([leaf], at=end) == "Rhea Group"
    with pytest.raises(Expired):
        verify([leaf], at=end + 1)
    with pytest.raises(NotYetValid):
        verify([leaf], at=leaf.certificate.not_valid_before_utc.timestamp() - 1)


def test_the_path_is_the_verified_one() -> None:
    """What the client sent beyond it is not part of what the app reads."""
    verified = verifier(ROOT).verify([each.pem for each in (make_leaf(INTERMEDIATE), OTHER, INTERMEDIATE)], time.time())
    assert verified.certificate.issuers == (INTERMEDIATE.certificate, ROOT.certificate)


def test_a_long_chain_is_malformed() -> None:
    """Nobody has eleven certificates, but a verifier can be kept busy with them."""
    with pytest.raises(Malformed, match="1 to 10 are read"):
        verify([make_leaf(ROOT), *[INTERMEDIATE] * 10])
    with pytest.raises(Malformed):
        verify([])


@pytest.mark.parametrize("pem", ["", "x", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "\udcff"])
@pytest.mark.parametrize("place", [0, 1])
def test_an_unreadable_certificate_anywhere_is_malformed(pem: str, place: int) -> None:
    """Also behind a good leaf: half a chain that cannot be read is not read at all."""
    chain = [make_leaf(ROOT).pem]
    chain.insert(place, pem)
    with pytest.raises(Malformed):
        verifier(ROOT).verify(chain, time.time())


def test_roots_from_a_file_verify() -> None:
    """read_roots and Verifier fit together."""
    roots = read_roots((INTERMEDIATE.pem + ROOT.pem).encode())
    assert Verifier(roots).verify([make_leaf(INTERMEDIATE).pem], time.time()).certificate.common_name == "Rhea Group"


def revocation(folder: Path, roots: Roots, *lists: bytes) -> Revocation:
    """What an entry with these lists says about withdrawal."""
    path = folder / "ca.crl"
    path.write_bytes(write_pem(*lists))
    return Revocation(read_crls(path, roots))


def by_root(pair: Pair, *revocations: Revocation) -> dict[bytes, Sequence[Revocation]]:
    return {pair.certificate.public_bytes(Encoding.DER): revocations}


def test_a_withdrawn_chain_is_refused_and_one_that_nobody_can_tell_of(tmp_path: Path) -> None:
    """And the answer about a good one holds until the list has ended."""
    leaf, lost = make_leaf(ROOT), make_leaf(ROOT)
    roots = Roots((ROOT.certificate,), ())
    said = revocation(tmp_path, roots, make_list(ROOT, [lost]))
    judge = Verifier(roots, by_root(ROOT, said))
    at = time.time()
    assert judge.verify([leaf.pem], at).not_after == said.lists[0].next_update
    with pytest.raises(Revoked):
        judge.verify([lost.pem], at)
    with pytest.raises(StatusUnknown):
        judge.verify([make_leaf(INTERMEDIATE).pem, INTERMEDIATE.pem], at)
    with pytest.raises(StatusUnknown):
        judge.verify([leaf.pem], judge.verify([leaf.pem], at).not_after + 1)


def test_a_certificate_that_ends_before_the_list_ends_the_answer(tmp_path: Path) -> None:
    """Whichever is first."""
    leaf, roots = make_leaf(ROOT, ends=DAY), Roots((ROOT.certificate,), ())
    judge = Verifier(roots, by_root(ROOT, revocation(tmp_path, roots, make_list(ROOT))))
    assert judge.verify([leaf.pem], time.time()).not_after == leaf.certificate.not_valid_after_utc.timestamp()


def test_every_entry_with_the_same_root_counts(tmp_path: Path) -> None:
    """That one knows of a withdrawal is worth more than that another cannot tell."""
    leaf, roots = make_leaf(ROOT), Roots((ROOT.certificate,), ())
    good = revocation(tmp_path, roots, make_list(ROOT, ends=DAY))
    lost = revocation(tmp_path, roots, make_list(ROOT, [leaf]))
    ended = revocation(tmp_path, roots, make_list(ROOT, ends=-DAY / 2))
    longer = revocation(tmp_path, roots, make_list(ROOT, ends=2 * DAY))
    for order in ((good, longer), (longer, good)):
        at = time.time()
        assert Verifier(roots, by_root(ROOT, *order)).verify([leaf.pem], at).not_after == good.lists[0].next_update
    for order in ((good, lost), (lost, good), (ended, lost), (lost, ended)):
        with pytest.raises(Revoked):
            Verifier(roots, by_root(ROOT, *order)).verify([leaf.pem], time.time())
    for order in ((good, ended), (ended, good)):
        with pytest.raises(StatusUnknown):
            Verifier(roots, by_root(ROOT, *order)).verify([leaf.pem], time.time())


def test_what_one_entry_says_is_nothing_to_the_devices_of_another_root(tmp_path: Path) -> None:
    """Not its lists, and not that they do not cover them; not even when two authorities have one name."""
    leaf, namesakes = make_leaf(CONSTRAINED, extensions=[alternative("a.ok.example")]), make_leaf(OTHER)
    roots = Roots((ROOT.certificate, CONSTRAINED.certificate, OTHER.certificate), ())
    judge = Verifier(roots, by_root(ROOT, revocation(tmp_path, roots, make_list(ROOT, [namesakes, leaf]))))
    for pair in (leaf, namesakes):
        ends = pair.certificate.not_valid_after_utc.timestamp()
        assert judge.verify([pair.pem], time.time()).not_after == ends


def test_a_way_around_a_list_is_none(tmp_path: Path) -> None:
    """Two roots have signed one intermediate; the path that the device chooses does not choose who is asked."""
    crossed = make_certificate(
        INTERMEDIATE.certificate.subject,
        CONSTRAINED,
        [(x509.BasicConstraints(ca=True, path_length=None), True)],
        key=INTERMEDIATE.key,
    )
    names = [alternative("a.ok.example")]
    leaf, lost = make_leaf(INTERMEDIATE, extensions=names), make_leaf(INTERMEDIATE, extensions=names)
    listed = Roots((ROOT.certificate,), (INTERMEDIATE.certificate,))
    said = revocation(tmp_path, listed, make_list(ROOT), make_list(INTERMEDIATE, [lost]))
    roots = Roots((ROOT.certificate, CONSTRAINED.certificate), ())
    judge = Verifier(roots, by_root(ROOT, said))
    for above in (INTERMEDIATE, crossed):
        assert judge.verify([leaf.pem, above.pem], time.time()).certificate.issuers[0] == above.certificate
        with pytest.raises(Revoked):
            judge.verify([lost.pem, above.pem], time.time())


OPENSSL_JUDGES: dict[str, tuple[list[bytes], bool]] = {
    "all covered": ([make_list(ROOT), make_list(INTERMEDIATE)], True),
    "device withdrawn": ([make_list(ROOT), make_list(INTERMEDIATE, [DEVICE])], False),
    "intermediate withdrawn": ([make_list(ROOT, [INTERMEDIATE]), make_list(INTERMEDIATE)], False),
    "intermediate not covered": ([make_list(INTERMEDIATE)], False),
    "device not covered": ([make_list(ROOT)], False),
    "ended": ([make_list(ROOT), make_list(INTERMEDIATE, begins=-2 * DAY, ends=-DAY)], False),
    "not begun": ([make_list(ROOT), make_list(INTERMEDIATE, begins=DAY, ends=2 * DAY)], False),
    "for authorities": ([make_list(ROOT, [], FOR_AUTHORITIES), make_list(INTERMEDIATE)], True),
    "for authorities alone": ([make_list(ROOT), make_list(INTERMEDIATE, [], FOR_AUTHORITIES)], False),
    "for some reasons": ([make_list(ROOT), make_list(INTERMEDIATE, [], FOR_SOME)], False),
    "a part": ([make_list(ROOT), make_list(INTERMEDIATE, [], A_PART)], False),
    "same serial, another issuer": ([make_list(ROOT, [DEVICE]), make_list(INTERMEDIATE)], True),
    "no end": ([make_list(ROOT), make_list(INTERMEDIATE, ends=None)], True),
}
REVOCATION_DIFFERS = {"no end": "OpenSSL takes a list without nextUpdate for current until the end of time"}


@pytest.mark.parametrize("case", OPENSSL_JUDGES)
def test_openssl_judges_withdrawal_the_same(case: str, tmp_path: Path) -> None:
    """With `-crl_check_all` it agrees, but for the listed difference."""
    lists, accepted = OPENSSL_JUDGES[case]
    (tmp_path / "root.pem").write_text(ROOT.pem)
    (tmp_path / "leaf.pem").write_text(DEVICE.pem)
    (tmp_path / "sent.pem").write_text(INTERMEDIATE.pem)
    (tmp_path / "lists.pem").write_bytes(write_pem(*lists))
    openssl = find_program("openssl", "openssl")
    command = [openssl, "verify", "-crl_check_all", "-CAfile", "root.pem", "-untrusted", "sent.pem"]
    command += ["-no-CApath", "-no-CAstore", "-CRLfile", "lists.pem", "leaf.pem"]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (said.returncode == 0) == accepted, said.stdout + said.stderr
    roots = Roots((ROOT.certificate,), (INTERMEDIATE.certificate,))
    judge = Verifier(roots, by_root(ROOT, revocation(tmp_path, roots, *lists)))
    try:
        judge.verify([DEVICE.pem], time.time())
        ours = True
    except (Revoked, StatusUnknown):
        ours = False
    assert ours == accepted or case in REVOCATION_DIFFERS
