"""Certificates: what a request asks for and a profile allows, signed by an authority or by itself."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, ExtensionOID

from keyfob.certificate import UNREADABLE
from keyfob.errors import PKIError
from keyfob.pki.authority import Authority, identify_issuer, make_key_usage
from keyfob.pki.cfssl.documents import Place
from keyfob.pki.cfssl.hosts import Hosts, Warn, parse_hosts
from keyfob.pki.cfssl.profiles import Profile
from keyfob.pki.cfssl.requests import Request, choose_hash, find_extension, make_csr, require_key
from keyfob.pki.cfssl.subjects import Subject, parse_subject
from keyfob.pki.cfssl.times import EARLIEST
from keyfob.pki.cfssl.usages import read_usages
from keyfob.pki.keys import PrivateKey

AUTHORITY_EXPIRY = timedelta(hours=43800)
BACKDATE = timedelta(minutes=5)
_LATEST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)

Extension = tuple[x509.ExtensionType, bool]

# What an authority decides, whatever a request says.
_DECIDED_HERE = {
    ExtensionOID.KEY_USAGE,
    ExtensionOID.EXTENDED_KEY_USAGE,
    ExtensionOID.SUBJECT_KEY_IDENTIFIER,
    ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
    ExtensionOID.AUTHORITY_INFORMATION_ACCESS,
    ExtensionOID.CERTIFICATE_POLICIES,
    ExtensionOID.CRL_DISTRIBUTION_POINTS,
    ExtensionOID.OCSP_NO_CHECK,
    ExtensionOID.NAME_CONSTRAINTS,
}


class Order(NamedTuple):
    """A CSR, and what the command line says instead of it."""

    csr: x509.CertificateSigningRequest
    name: str
    hosts: Hosts | None = None
    subject: Subject | None = None
    crl_url: str = ""


class _Content(NamedTuple):
    """What the certificate will say of whom it is for."""

    subject: Subject
    hosts: Hosts
    extensions: tuple[Extension, ...]
    crl_url: str


def make_root_profile(request: Request) -> Profile:
    """The profile of a new root, as the request's `ca` wishes it."""
    usages = read_usages(("cert sign", "crl sign"), Place("a root"))
    profile = Profile(usages, AUTHORITY_EXPIRY, is_authority=True, crl_url=request.crl_url)
    if request.authority is None:
        return profile
    length, expiry, backdate = request.authority
    return profile._replace(path_length=length, expiry=expiry or AUTHORITY_EXPIRY, backdate=backdate)


def sign_root(request: Request, key: PrivateKey, warn: Warn) -> tuple[x509.Certificate, x509.CertificateSigningRequest]:
    """A root's own certificate, and the CSR that it came of. Raises PKIError."""
    if not request.subject.values:
        raise PKIError("the authority has no name", 'write "CN"')
    csr = make_csr(request, key)
    if request.hosts.dns or request.hosts.emails or request.hosts.uris:
        warn("hosts: an authority has none; they stand in its CSR alone")
    return sign_itself(Order(csr, "the request"), key, make_root_profile(request), warn), csr


def sign_itself(order: Order, key: PrivateKey, profile: Profile, warn: Warn) -> x509.Certificate:
    """A certificate that its own key has signed. Raises PKIError."""
    content = _gather(order, profile, warn)
    subject = content.subject.as_name()
    builder = _start(subject, subject, order, profile)
    for extension, critical in _extend(content, profile, order, None):
        builder = builder.add_extension(extension, critical)
    return builder.sign(key, choose_hash(key.public_key()))


def sign(order: Order, authority: Authority, profile: Profile, warn: Warn) -> x509.Certificate:
    """A certificate by `authority`. Raises PKIError for what the profile, or the authority itself, does not allow."""
    issuer = authority.certificate
    _require_authority(issuer, profile)
    require_key(issuer.public_key(), "the authority")
    content = _gather(order, profile, warn)
    builder = _start(content.subject.as_name(), issuer.subject, order, profile)
    for extension, critical in _extend(content, profile, order, issuer):
        builder = builder.add_extension(extension, critical)
    signed = builder.sign(authority.issued.key, choose_hash(authority.issued.key.public_key()))
    if signed.not_valid_after_utc > issuer.not_valid_after_utc:
        warn(f"it outlives its authority, which ends on {issuer.not_valid_after_utc:%Y-%m-%d}, and then it is void")
    if profile.is_authority and "key_cert_sign" not in profile.usages.key:
        warn(f'{profile.place}: an authority without "cert sign" among its usages signs nothing that is believed')
    if not content.hosts.names and ExtendedKeyUsageOID.SERVER_AUTH in profile.usages.extended:
        warn('it names no host, so no browser takes it for a server\'s: write "hosts", or give -hostname')
    return signed


def _require_authority(issuer: x509.Certificate, profile: Profile) -> None:
    basic = find_extension(issuer.extensions, x509.BasicConstraints)
    usage = find_extension(issuer.extensions, x509.KeyUsage)
    name = issuer.subject.rfc4514_string()
    if basic is None or not basic.ca or (usage is not None and not usage.key_cert_sign):
        raise PKIError(f"{name} is no authority: nobody would believe what it signs", "give an authority with -ca")
    if issuer.not_valid_after_utc <= datetime.now(UTC):
        raise PKIError(
            f"{name} ended on {issuer.not_valid_after_utc:%Y-%m-%d}", "make a new one, or see gencert -renewca"
        )
    if profile.is_authority and basic.path_length is not None:
        if basic.path_length == 0:
            raise PKIError(f"{name} may make no further authorities (path length 0)", "sign with the one above it")
        if profile.path_length is not None and profile.path_length >= basic.path_length:
            message = f"{name} has a path length of {basic.path_length}, and the new authority would have as much"
            raise PKIError(message, f"write a max_path_len of {basic.path_length - 1} into the profile")


def _gather(order: Order, profile: Profile, warn: Warn) -> _Content:
    place = Place(order.name)
    subject = parse_subject(order.csr.subject, place)
    if order.subject is not None:
        subject = order.subject.fill(subject)
    try:
        extensions = order.csr.extensions
    except UNREADABLE as error:
        raise PKIError(f"{order.name} has extensions that cannot be read: {error}", "make it anew") from error
    constraints = find_extension(extensions, x509.BasicConstraints)
    if constraints is not None and constraints.ca and not profile.is_authority:
        raise PKIError(
            f"{order.name} asks for an authority, and the profile allows none", 'see "ca_constraint" in the profile'
        )
    hosts = order.hosts
    if hosts is None:
        hosts = parse_hosts(find_extension(extensions, x509.SubjectAlternativeName) or (), place, warn)
    profile.require_names(subject, hosts)
    hosts = hosts.for_authority() if profile.is_authority else hosts
    if not subject.values and not hosts.names:
        raise PKIError(f"{order.name} names nobody", 'write "CN", or "hosts"')
    copied = tuple(_copy(extensions, profile, place)) if profile.copies_extensions else ()
    return _Content(subject, hosts, copied, order.crl_url or profile.crl_url)


def _copy(extensions: x509.Extensions, profile: Profile, place: Place) -> Iterator[Extension]:
    for each in extensions:
        if each.oid in (ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.SUBJECT_ALTERNATIVE_NAME):
            continue
        if each.oid in _DECIDED_HERE:
            place.fail(
                f"it asks for {each.oid.dotted_string}, which the profile decides", "leave it out of the request"
            )
        if profile.allowed_extensions and each.oid not in profile.allowed_extensions:
            where = profile.place.at("allowed_extensions")
            place.fail(
                f"it asks for {each.oid.dotted_string}, which is not in {where}", "leave it out, or add it there"
            )
        yield each.value, each.critical


def _start(subject: x509.Name, issuer: x509.Name, order: Order, profile: Profile) -> x509.CertificateBuilder:
    begins, ends = _find_lifetime(profile)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(require_key(order.csr.public_key(), order.name))
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
    )


def _find_lifetime(profile: Profile) -> tuple[datetime, datetime]:
    """From the nearest full minute, some minutes ago, on; the expiry counts from there."""
    now = (datetime.now(UTC) + timedelta(seconds=30)).replace(second=0, microsecond=0)
    try:
        begins = profile.not_before or now - (profile.backdate or BACKDATE)
        ends = profile.not_after or begins + profile.expiry
    except OverflowError:
        begins = ends = _LATEST
    if not EARLIEST <= begins < ends <= _LATEST:
        raise PKIError(
            f"{profile.place}: a certificate cannot live from {begins:%Y-%m-%d %H:%M} to {ends:%Y-%m-%d %H:%M}",
            "see expiry, backdate, not_before and not_after",
        )
    return begins, ends


def _extend(content: _Content, profile: Profile, order: Order, issuer: x509.Certificate | None) -> Iterator[Extension]:
    """In the order of Go's library."""
    if profile.usages.key:
        yield make_key_usage(*profile.usages.key), True
    if profile.usages.extended:
        yield x509.ExtendedKeyUsage(profile.usages.extended), False
    yield x509.BasicConstraints(ca=profile.is_authority, path_length=profile.path_length), True
    yield x509.SubjectKeyIdentifier.from_public_key(require_key(order.csr.public_key(), order.name)), False
    if issuer is not None:
        yield identify_issuer(issuer), False
    yield from _say_where(profile)
    if content.hosts.names:
        # RFC 5280 section 4.2.1.6: where the subject is empty, these are all there is.
        empty = not content.subject.values and not content.subject.others
        yield x509.SubjectAlternativeName(content.hosts.names), empty
    if content.crl_url:
        point = x509.DistributionPoint([x509.UniformResourceIdentifier(content.crl_url)], None, None, None)
        yield x509.CRLDistributionPoints([point]), False
    yield from content.extensions
    if profile.policies:
        yield x509.CertificatePolicies(profile.policies), False
    if profile.ocsp_no_check:
        yield x509.OCSPNoCheck(), False


def _say_where(profile: Profile) -> Iterator[Extension]:
    """Where more can be learnt of the authority."""
    methods = (
        *((AuthorityInformationAccessOID.OCSP, url) for url in filter(None, [profile.ocsp_url])),
        *((AuthorityInformationAccessOID.CA_ISSUERS, url) for url in profile.issuer_urls or ()),
    )
    if methods:
        descriptions = [x509.AccessDescription(oid, x509.UniformResourceIdentifier(url)) for oid, url in methods]
        yield x509.AuthorityInformationAccess(descriptions), False
