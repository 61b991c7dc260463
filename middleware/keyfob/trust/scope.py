"""Which certificates a revocation list speaks about: RFC 5280 section 6.3.3 (b) to (e)."""

from collections.abc import Hashable, Iterator, Sequence

from cryptography import x509

from keyfob.trust.names import spell

Reasons = frozenset[x509.ReasonFlags]

# Whoever says nothing about reasons speaks of all of them. The first and the last of the enumeration are no flags.
EVERY_REASON: Reasons = frozenset(x509.ReasonFlags) - {
    x509.ReasonFlags.unspecified,
    x509.ReasonFlags.remove_from_crl,
}
NO_REASON: Reasons = frozenset()

_Point = tuple[str, object]


class Scope:
    """What a list of this issuer covers, by its issuing distribution point."""

    def __init__(self, issuer: x509.Name, point: x509.IssuingDistributionPoint | None) -> None:
        self.is_indirect = point is not None and point.indirect_crl
        self._issuer = spell(issuer)
        self._for_devices = point is None or not (point.only_contains_ca_certs or point.only_contains_attribute_certs)
        self._for_authorities = point is None or not (
            point.only_contains_user_certs or point.only_contains_attribute_certs
        )
        self._reasons = EVERY_REASON if point is None or point.only_some_reasons is None else point.only_some_reasons
        self._points = frozenset(_name(point.full_name, point.relative_name, issuer)) if point else NO_POINTS
        # Lists of one signer with equal keys speak about the same certificates: the later one is in the other's place.
        self.key: Hashable = (
            self.is_indirect,
            self._issuer,
            self._for_devices,
            self._for_authorities,
            self._reasons,
            self._points,
        )

    def find_reasons(self, certificate: x509.Certificate) -> Reasons:
        """The reasons for which the list would name `certificate` if it were withdrawn; empty if for none."""
        is_authority, points = _read(certificate)
        if not (self._for_authorities if is_authority else self._for_devices):
            return NO_REASON
        issuer = certificate.issuer
        found = NO_REASON
        for point in (_without_extension(issuer), *points):
            if self._is_meant(point, issuer):
                found |= self._reasons & (EVERY_REASON if point.reasons is None else point.reasons)
        return found

    def _is_meant(self, point: x509.DistributionPoint, issuer: x509.Name) -> bool:
        """Whether a certificate of `issuer` with that distribution point leads to this list."""
        authorities = frozenset(_name(point.crl_issuer, None, issuer))
        if authorities:
            if not self.is_indirect or ("directory", self._issuer) not in authorities:
                return False
        elif spell(issuer) != self._issuer:
            return False
        if not self._points:
            return True
        lists = _name(point.full_name, point.relative_name, _authority_of(point) or issuer)
        return not self._points.isdisjoint(frozenset(lists) or authorities)


NO_POINTS: frozenset[_Point] = frozenset()


def _without_extension(issuer: x509.Name) -> x509.DistributionPoint:
    """Any list of a certificate's own issuer will do, whatever the certificate says about where to find one."""
    return x509.DistributionPoint([x509.DirectoryName(issuer)], None, None, None)


def _read(certificate: x509.Certificate) -> tuple[bool, Sequence[x509.DistributionPoint]]:
    is_authority, points = False, list[x509.DistributionPoint]()
    for extension in certificate.extensions:
        match extension.value:
            case x509.BasicConstraints(ca=ca):
                is_authority = ca
            case x509.CRLDistributionPoints() as found:
                points.extend(found)
    return is_authority, points


def _authority_of(point: x509.DistributionPoint) -> x509.Name | None:
    names = [each.value for each in point.crl_issuer or () if isinstance(each, x509.DirectoryName)]
    return names[0] if len(names) == 1 else None


def _name(
    names: Sequence[x509.GeneralName] | None, relative: x509.RelativeDistinguishedName | None, issuer: x509.Name
) -> Iterator[_Point]:
    """The names of a point, comparable; one that is relative is so to the list's issuer."""
    for each in names or ():
        yield ("directory", spell(each.value)) if isinstance(each, x509.DirectoryName) else (type(each).__name__, each)
    if relative is not None:
        yield "directory", spell(x509.Name([*issuer.rdns, relative]))
