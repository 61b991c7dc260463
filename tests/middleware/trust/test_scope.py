"""trust.scope: which certificates a list speaks about, and for which reasons."""

from collections.abc import Sequence

import pytest
from cryptography import x509

from certificates import Extensions, make_authority, make_leaf, make_name
from keyfob.trust.scope import EVERY_REASON, Scope

Reasons = x509.ReasonFlags
ROOT = make_authority("Root")
LISTS = make_name("Lists")
HERE, THERE = "http://crl.example.com/1", "http://crl.example.com/2"
SOME = frozenset({Reasons.key_compromise, Reasons.superseded})


def uri(text: str) -> x509.GeneralName:
    return x509.UniformResourceIdentifier(text)


def directory(name: x509.Name) -> x509.GeneralName:
    return x509.DirectoryName(name)


def point(
    *names: x509.GeneralName,
    relative: str = "",
    issuer: Sequence[x509.GeneralName] = (),
    reasons: frozenset[Reasons] | None = None,
) -> x509.DistributionPoint:
    return x509.DistributionPoint(list(names) or None, _relative(relative), reasons, list(issuer) or None)


def _relative(text: str) -> x509.RelativeDistinguishedName | None:
    return x509.RelativeDistinguishedName(make_name(text)) if text else None


def about(
    *names: x509.GeneralName,
    relative: str = "",
    user: bool = False,
    ca: bool = False,
    attribute: bool = False,
    reasons: frozenset[Reasons] | None = None,
    indirect: bool = False,
) -> x509.IssuingDistributionPoint:
    return x509.IssuingDistributionPoint(
        list(names) or None, _relative(relative), user, ca, reasons, indirect, attribute
    )


def leaf(*points: x509.DistributionPoint) -> x509.Certificate:
    extensions: Extensions = [(x509.CRLDistributionPoints(points), False)] if points else []
    return make_leaf(ROOT, extensions=extensions).certificate


def covers(
    certificate: x509.Certificate,
    scope: x509.IssuingDistributionPoint | None,
    issuer: x509.Name = ROOT.certificate.subject,
) -> bool:
    found = Scope(issuer, scope).find_reasons(certificate)
    assert found in (EVERY_REASON, frozenset())
    return found == EVERY_REASON


PLAIN, AUTHORITY = leaf(), make_authority("Intermediate", ROOT).certificate


def test_a_list_is_about_the_certificates_of_its_issuer() -> None:
    """Whatever they say about where to find one; and about nobody else's."""
    for certificate in (PLAIN, AUTHORITY, leaf(point(uri(HERE))), leaf(point(uri(HERE), issuer=[directory(LISTS)]))):
        assert covers(certificate, None)
        assert covers(certificate, None, make_name(" rOOT"))
        assert not covers(certificate, None, LISTS)


@pytest.mark.parametrize(
    ("scope", "device", "authority"),
    [
        (about(user=True), True, False),
        (about(ca=True), False, True),
        (about(attribute=True), False, False),
        (about(indirect=True), True, True),
    ],
    ids=["user", "ca", "attribute", "indirect"],
)
def test_a_list_for_one_kind_is_not_about_another(
    scope: x509.IssuingDistributionPoint, device: bool, authority: bool
) -> None:
    """RFC 5280 section 6.3.3 (b)(2)."""
    assert covers(PLAIN, scope) == device
    assert covers(AUTHORITY, scope) == authority


def test_a_part_is_about_those_who_name_the_same_point() -> None:
    """One of its names is enough; a certificate that names none has no part of it."""
    assert covers(leaf(point(uri(HERE))), about(uri(HERE)))
    assert covers(leaf(point(uri(THERE)), point(uri("http://x"), uri(HERE))), about(uri("http://y"), uri(HERE)))
    assert not covers(leaf(point(uri(THERE))), about(uri(HERE)))
    assert not covers(PLAIN, about(uri(HERE)))
    assert not covers(leaf(point(uri(HERE.upper()))), about(uri(HERE)))
    assert not covers(leaf(point(x509.DNSName(HERE))), about(uri(HERE)))


def test_a_point_may_be_a_name_or_relative_to_the_issuers() -> None:
    """RFC 5280 section 4.2.1.13: nameRelativeToCRLIssuer stands for the whole name."""
    whole = directory(x509.Name([*ROOT.certificate.subject.rdns, *make_name("part").rdns]))
    for one in (point(whole), point(relative="part")):
        for other in (about(whole), about(relative="part")):
            assert covers(leaf(one), other)
    assert not covers(leaf(point(relative="another")), about(relative="part"))
    assert covers(PLAIN, about(directory(ROOT.certificate.subject)))
    assert not covers(PLAIN, about(directory(LISTS)))


def test_a_certificate_may_leave_its_list_to_another_authority() -> None:
    """It has to say so itself, by name, and the list has to say that it is an indirect one."""
    left = leaf(point(uri(HERE), issuer=[directory(LISTS)]))
    assert covers(left, about(indirect=True), LISTS)
    assert covers(left, about(uri(HERE), indirect=True), LISTS)
    assert not covers(left, None, LISTS)
    assert not covers(left, about(uri(HERE)), LISTS)
    assert not covers(left, about(uri(THERE), indirect=True), LISTS)
    assert not covers(left, about(indirect=True), make_name("Others"))
    assert not covers(leaf(point(uri(HERE))), about(indirect=True), LISTS)
    assert not covers(PLAIN, about(indirect=True), LISTS)
    # A point that is left to another authority is not the same point of one's own issuer.
    assert not covers(left, about(uri(HERE), indirect=True))


def test_a_point_of_another_authority_may_go_by_that_ones_name() -> None:
    """RFC 5280 section 6.3.3 (b)(2)(i): without a name of its own, the point is called as the list's issuer is."""
    left = leaf(point(issuer=[directory(LISTS)]))
    assert covers(left, about(directory(LISTS), indirect=True), LISTS)
    assert not covers(left, about(uri(HERE), indirect=True), LISTS)
    whole = directory(x509.Name([*LISTS.rdns, *make_name("part").rdns]))
    assert covers(leaf(point(relative="part", issuer=[directory(LISTS)])), about(whole, indirect=True), LISTS)


def find(certificate: x509.Certificate, scope: x509.IssuingDistributionPoint) -> frozenset[Reasons]:
    return Scope(ROOT.certificate.subject, scope).find_reasons(certificate)


def test_some_reasons_are_not_all_of_them() -> None:
    """A list that leaves a reason out leaves out who was withdrawn for it; so does a point."""
    assert find(PLAIN, about(reasons=SOME)) == SOME
    assert find(leaf(point(uri(HERE), reasons=SOME)), about(uri(HERE))) == SOME
    one = frozenset({Reasons.key_compromise, Reasons.certificate_hold})
    assert find(leaf(point(uri(HERE), reasons=one)), about(uri(HERE), reasons=SOME)) == {Reasons.key_compromise}
    assert len(EVERY_REASON) == 8
