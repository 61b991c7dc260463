"""A family of revocation lists around one path that is otherwise good."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from certificates import DAY, Extensions, Pair, make_authority, make_certificate, make_name
from judges.chains import (
    DEVICE,
    PLACES,
    PLAIN,
    SHA1_ECDSA,
    Chain,
    Link,
    be_authority,
    make_identifiers,
    make_path,
    make_usage,
    present,
    put,
)
from revocations import (
    ECDSA_SHA256,
    make_entry,
    make_extension,
    make_list,
    make_raw_extension,
    make_tbs,
    make_time,
    sign_list,
    tlv,
)

URI = x509.UniformResourceIdentifier("http://crl.example.com/1")
OTHER_URI = x509.UniformResourceIdentifier("http://crl.example.com/2")
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")
COMPROMISE = frozenset({x509.ReasonFlags.key_compromise, x509.ReasonFlags.ca_compromise})
THE_REST = frozenset(x509.ReasonFlags) - COMPROMISE - {x509.ReasonFlags.unspecified, x509.ReasonFlags.remove_from_crl}


def point(
    *,
    uri: x509.GeneralName | None = None,
    users: bool = False,
    authorities: bool = False,
    reasons: frozenset[x509.ReasonFlags] | None = None,
    indirect: bool = False,
    attributes: bool = False,
) -> tuple[x509.ExtensionType, bool]:
    names = [uri] if uri else None
    return x509.IssuingDistributionPoint(names, None, users, authorities, reasons, indirect, attributes), True


def make_variants(issuer: Pair, about: Pair, stranger: Pair) -> Iterator[tuple[str, tuple[bytes, ...]]]:
    """What may stand in the place of the good list of `issuer`."""
    good = make_list(issuer)
    bad = make_list(issuer, [about])
    serial = about.certificate.serial_number
    delta = x509.DeltaCRLIndicator(1)
    twin = Pair(stranger.certificate, issuer.key)
    forged = make_list(issuer, signer=stranger)
    yield "good", (good,)
    yield "revoked", (bad,)
    yield "missing", ()
    yield "others revoked", (make_list(issuer, range(1, 20)),)
    yield "ended", (make_list(issuer, begins=-9 * DAY, ends=-DAY),)
    yield "ended, revoked", (make_list(issuer, [about], begins=-9 * DAY, ends=-DAY),)
    yield "ended beside good", (make_list(issuer, begins=-9 * DAY, ends=-DAY), good)
    yield "ended, revoked, beside good", (make_list(issuer, [about], begins=-9 * DAY, ends=-DAY), good)
    yield "not yet", (make_list(issuer, begins=DAY, ends=9 * DAY),)
    yield "not yet, revoked", (make_list(issuer, [about], begins=DAY, ends=9 * DAY),)
    yield "without an end", (make_list(issuer, ends=None),)
    yield "without an end, revoked", (make_list(issuer, [about], ends=None),)
    yield "good before revoked", (good, bad)
    yield "revoked before good", (bad, good)
    yield "older good, newer revoked", (make_list(issuer, begins=-3 * DAY), make_list(issuer, [about], begins=-2 * DAY))
    yield "older revoked, newer good", (make_list(issuer, [about], begins=-3 * DAY), make_list(issuer, begins=-2 * DAY))
    yield "of another name, by the same key", (make_list(twin, signer=issuer),)
    yield "by another key", (forged,)
    yield "by another key, revoked", (make_list(issuer, [about], signer=stranger),)
    yield "by another key, beside good", (forged, good)
    yield "with a spoilt signature", (good[:-1] + bytes((good[-1] ^ 1,)),)
    yield "with a spoilt signature, revoked", (bad[:-1] + bytes((bad[-1] ^ 1,)),)
    for how, critical in (("critical", True), ("not critical", False)):
        yield f"delta, {how}", (make_list(issuer, (), (delta, critical)),)
        yield f"delta, {how}, revoked", (make_list(issuer, [about], (delta, critical)),)
        yield f"delta, {how}, beside good", (make_list(issuer, (), (delta, critical)), good)
        yield f"delta, {how}, revoked, beside good", (make_list(issuer, [about], (delta, critical)), good)
        yield f"unknown extension, {how}", (make_list(issuer, (), (UNKNOWN, critical)),)
        entry = make_raw_extension(UNKNOWN.oid, UNKNOWN.value, critical)
        yield f"unknown extension of an entry, {how}", (make_list(issuer, [make_entry(5, entry)]),)
        yield f"unknown extension of its entry, {how}", (make_list(issuer, [make_entry(serial, entry)]),)
    for flag in x509.ReasonFlags:
        if flag is not x509.ReasonFlags.unspecified:
            reason = make_extension(x509.CRLReason(flag))
            yield f"revoked for {flag.value}", (make_list(issuer, [make_entry(serial, reason)]),)
    yield "with SHA-1", (_make_with_sha1(issuer),)
    yield "with a serial number of the same digits and another sign", (make_list(issuer, [-serial]),)
    yield "of version 1", (_make_first_version(issuer),)
    for word, which in {
        "users": point(users=True),
        "authorities": point(authorities=True),
        "attributes": point(attributes=True),
        "compromise": point(reasons=COMPROMISE),
        "a part": point(uri=URI),
        "indirect": point(indirect=True),
    }.items():
        yield f"about {word}", (make_list(issuer, (), which),)
        yield f"about {word}, revoked", (make_list(issuer, [about], which),)
        yield f"about {word}, beside good", (make_list(issuer, (), which), good)
        yield f"about {word}, revoked, beside good", (make_list(issuer, [about], which), good)
    both = (make_list(issuer, (), point(reasons=COMPROMISE)), make_list(issuer, (), point(reasons=THE_REST)))
    yield "about compromise and the rest", both
    late = make_list(issuer, [about], point(reasons=THE_REST))
    yield "about compromise and the rest, revoked", (both[0], late)
    yield (
        "of users and of authorities",
        (
            make_list(issuer, (), point(users=True)),
            make_list(issuer, (), point(authorities=True)),
        ),
    )


def _make_with_sha1(issuer: Pair) -> bytes:
    now = datetime.now(UTC)
    times = make_time(now - DAY) + make_time(now + DAY)
    tbs = make_tbs(issuer.certificate.subject.public_bytes(), SHA1_ECDSA, times, b"", b"")
    if not isinstance(issuer.key, ec.EllipticCurvePrivateKey):
        raise TypeError(issuer)
    signature = issuer.key.sign(tbs, ec.ECDSA(hashes.SHA1()))  # noqa: S303 - that is the point
    return tlv(0x30, tbs, SHA1_ECDSA, tlv(0x03, b"\0", signature))


def _make_first_version(issuer: Pair) -> bytes:
    """Without the word that says which version it is: RFC 5280 section 5.1.2.1."""
    now = datetime.now(UTC)
    times = make_time(now - DAY) + make_time(now + DAY)
    return sign_list(tlv(0x30, ECDSA_SHA256, issuer.certificate.subject.public_bytes(), times), issuer)


def make_single_lists() -> Iterator[Chain]:
    """Each variant in the place of each list, the other one good; the intermediate in the file or sent."""
    path = root, lower, device = make_path(PLAIN, PLAIN, DEVICE)
    stranger = make_authority("Stranger")
    for place, issuer, about, other in (("root", root, lower, lower), ("intermediate", lower, device, root)):
        for word, lists in make_variants(issuer, about, stranger):
            [from_file, sent] = present(f"list of the {place}: {word}", path, (*lists, make_list(other)))
            yield from_file
            if word in ("good", "revoked"):
                yield sent
    straight = make_path(PLAIN, DEVICE)
    for word, lists in make_variants(straight[0], straight[1], stranger):
        if lists:
            yield from present(f"one list: {word}", straight, lists)


def make_points() -> Iterator[Chain]:
    """Certificates that say where their list is, and lists that say which they are."""
    for place in (1, 2):
        for word, points in POINTS.items():
            links = put((PLAIN, PLAIN, DEVICE), place, _locate((PLAIN, PLAIN, DEVICE)[place], points))
            path = make_path(*links)
            parts: dict[str, list[tuple[x509.ExtensionType, bool]]] = {
                "whole": [],
                "first part": [point(uri=URI)],
                "second part": [point(uri=OTHER_URI)],
            }
            for which, about in parts.items():
                for entries, revoked in (("", ()), (", revoked", (path[place],))):
                    own = make_list(path[place - 1], revoked, *about)
                    rest = make_list(path[2 - place])
                    name = f"{PLACES_BELOW[place]} {word}, list {which}{entries}"
                    yield next(present(name, path, (own, rest)))


PLACES_BELOW = {1: "intermediate", 2: "device"}
POINTS = {
    "of the first part": (x509.DistributionPoint([URI], None, None, None),),
    "of both parts": (
        x509.DistributionPoint([URI], None, None, None),
        x509.DistributionPoint([OTHER_URI], None, None, None),
    ),
    "of the first part for compromise": (x509.DistributionPoint([URI], None, COMPROMISE, None),),
}


def _locate(link: Link, points: tuple[x509.DistributionPoint, ...]) -> Link:
    return replace(link, extensions=((x509.CRLDistributionPoints(points), False),))


def make_indirect() -> Iterator[Chain]:
    """A list of the root about the devices of an intermediate."""
    root_name = make_name("CA 0")
    told = (x509.DistributionPoint(None, None, None, [x509.DirectoryName(root_name)]),)
    for word, leaf in (("told", _locate(DEVICE, told)), ("not told", DEVICE)):
        path = root, lower, device = make_path(PLAIN, PLAIN, leaf)
        issuer = make_extension(x509.CertificateIssuer([x509.DirectoryName(lower.certificate.subject)]), True)
        serial = device.certificate.serial_number
        own, plain = make_list(lower), make_list(root)
        named = [make_entry(serial, issuer)]
        indirect, revoked = make_list(root, (), point(indirect=True)), make_list(root, named, point(indirect=True))
        inherited = [make_entry(5, issuer), make_entry(serial)]
        for name, lists in {
            "good": (indirect,),
            "good beside both": (indirect, plain, own),
            "revoked": (revoked,),
            "revoked beside both": (revoked, plain, own),
            "revoked by the entry before": (make_list(root, inherited, point(indirect=True)),),
            "its number is another issuer's": (make_list(root, [make_entry(serial)], point(indirect=True)),),
            "named in a list that is not indirect": (make_list(root, named), own),
        }.items():
            yield next(present(f"indirect, {word}: {name}", path, lists))


def make_signers() -> Iterator[Chain]:
    """Who may sign a list, and who may not."""
    for place in (0, 1):
        for word, sign in (("with", True), ("without", False)):
            basic = (be_authority()[0], make_usage("key_cert_sign", *(["crl_sign"] if sign else [])))
            path = make_path(*put((PLAIN, PLAIN, DEVICE), place, replace(PLAIN, basic=basic)))
            for entries, revoked in (("", ()), (", revoked", (path[2],))):
                lists = make_list(path[0]), make_list(path[1], revoked)
                yield next(present(f"{PLACES[place]} {word} cRLSign{entries}", path, lists))
    path = root, lower, device = make_path(PLAIN, PLAIN, DEVICE)
    key = ec.generate_private_key(ec.SECP256R1())
    lists_alone: Extensions = [DEVICE.basic[0], make_usage("crl_sign")]
    for word, above in (("the root", root), ("the intermediate", lower)):
        extensions = [*lists_alone, *make_identifiers(key, above)]
        signer = make_certificate(lower.certificate.subject, above, extensions, key=key)
        for entries, revoked in (("", ()), (", revoked", (device,))):
            lists = make_list(root), make_list(lower, revoked, signer=signer)
            name = f"list by another key of {word}'s for lists{entries}"
            yield Chain(f"{name}, sent", device, (lower, signer), (root,), lists)
            yield Chain(f"{name}, from the file", device, (), (root, lower, signer), lists)
    twin_path = make_path(PLAIN, PLAIN, DEVICE)
    for entries, revoked in (("", ()), (", revoked", (device,))):
        lists = make_list(root), make_list(twin_path[1], revoked)
        yield Chain(f"list of a twin{entries}", device, (), (root, lower), lists)
        file = root, lower, twin_path[0], twin_path[1]
        yield Chain(f"list of a twin, known{entries}", device, (), file, (*lists, make_list(twin_path[0])))
    withdrawn = make_list(root, [lower]), make_list(lower)
    again = make_certificate(
        lower.certificate.subject, root, [*PLAIN.basic, *make_identifiers(lower.key, root)], key=lower.key
    )
    yield Chain("intermediate revoked and issued again", device, (), (root, again), withdrawn)
    yield Chain("intermediate revoked and issued again, both sent", device, (lower, again), (root, again), withdrawn)


def make_chains() -> Iterator[Chain]:
    """All of the above; each has a name of its own."""
    yield from make_single_lists()
    yield from make_points()
    yield from make_indirect()
    yield from make_signers()
