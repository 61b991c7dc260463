"""A family of paths, good and bad in every way that OpenSSL and we both know of, without lists."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address, ip_network

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certificates import (
    CLIENT,
    DAY,
    SERVER,
    Key,
    Pair,
    make_authority,
    make_certificate,
    make_leaf,
    make_name,
)
from judges.chains import (
    BITS,
    DEVICE,
    MD5_RSA,
    PLACES,
    PLAIN,
    SHA1_ECDSA,
    SHA1_RSA,
    STRAIGHT,
    Chain,
    be_authority,
    make_identifiers,
    make_path,
    make_rsa,
    make_usage,
    present,
    put,
    sign_anew,
    spoil,
)

# Lengths and orders


def make_lengths() -> Iterator[Chain]:
    for count in range(6):
        path = make_path(*[PLAIN] * (count + 1), DEVICE)
        root, *between, device = path
        yield from present(f"{count} intermediates", path)
        yield Chain(f"{count} intermediates in the wrong order", device, tuple(between), (root,))
        yield Chain(f"{count} intermediates and the root, sent", device, (*reversed(between), root), (root,))
        for missing in range(count):
            rest = tuple(each for each in reversed(between) if each is not between[missing])
            yield Chain(f"{count} intermediates, {missing} missing", device, rest, (root,))
            yield Chain(f"{count} intermediates, {missing} in the file", device, rest, (root, between[missing]))
    path = make_path(PLAIN, DEVICE)
    yield Chain("its own root alone", path[-1], (path[0],), (make_authority("Another"),))
    yield Chain("self-signed", make_leaf(None), (), (path[0],))
    lower = make_leaf(path[-1])
    yield Chain("issued by a device", lower, (path[-1],), (path[0],))
    yield Chain("an intermediate as the root", make_path(*STRAIGHT)[-1], (), (make_authority("Another"),))


def make_path_lengths() -> Iterator[Chain]:
    for place in range(3):
        for length in range(4):
            links = put(STRAIGHT, place, replace(PLAIN, basic=be_authority(length)))
            yield from present(f"path length {length} at the {PLACES[place]}", make_path(*links))
    for length in range(3):
        above, again = replace(PLAIN, basic=be_authority(length)), replace(PLAIN, subject=make_name("CA 0"))
        yield from present(f"path length {length} above a self-issued one", make_path(above, again, PLAIN, DEVICE))


def make_times() -> Iterator[Chain]:
    for place in range(4):
        for word, begins, ends in (("ended", -9 * DAY, -DAY), ("not yet", DAY, 9 * DAY)):
            links = put(STRAIGHT, place, replace(STRAIGHT[place], begins=begins, ends=ends))
            yield from present(f"{word}: {PLACES[place]}", make_path(*links))


# Extensions

UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")
ANY_POLICY = x509.PolicyInformation(x509.ObjectIdentifier("2.5.29.32.0"), None)
ODD: dict[str, x509.ExtensionType] = {
    "unknown": UNKNOWN,
    "policy constraint": x509.PolicyConstraints(require_explicit_policy=0, inhibit_policy_mapping=None),
    "inhibited policy": x509.InhibitAnyPolicy(0),
    "policy": x509.CertificatePolicies([ANY_POLICY]),
    "TLS feature": x509.TLSFeature([x509.TLSFeatureType.status_request]),
    "OCSP no check": x509.OCSPNoCheck(),
    "issuer's alternative name": x509.IssuerAlternativeName([x509.DNSName("ca.example")]),
    "proxy": x509.UnrecognizedExtension(
        x509.ObjectIdentifier("1.3.6.1.5.5.7.1.14"), bytes.fromhex("300c300a06082b06010505071501")
    ),
}


def make_odd_extensions() -> Iterator[Chain]:
    for word, extension in ODD.items():
        for critical in (False, True):
            for place in range(4):
                links = put(STRAIGHT, place, replace(STRAIGHT[place], extensions=((extension, critical),)))
                how = "critical" if critical else "harmless"
                yield next(present(f"{how} {word} at the {PLACES[place]}", make_path(*links)))


def make_basic_constraints() -> Iterator[Chain]:
    usage = ((x509.ExtendedKeyUsage([CLIENT]), False),)
    for word, basic in {
        "none": (),
        "not critical": ((x509.BasicConstraints(ca=True, path_length=None), False),),
        "no authority": ((x509.BasicConstraints(ca=False, path_length=None), True),),
        "no authority, not critical": ((x509.BasicConstraints(ca=False, path_length=None), False),),
    }.items():
        for place in range(4):
            more = usage if place == 3 else (make_usage(*BITS[5:]),)
            links = put(STRAIGHT, place, replace(STRAIGHT[place], basic=(*basic, *more)))
            yield from present(f"basic constraints {word} at the {PLACES[place]}", make_path(*links))


EXTENDED: dict[str, list[x509.ObjectIdentifier] | None] = {
    "none": None,
    "client": [CLIENT],
    "server": [SERVER],
    "both": [SERVER, CLIENT],
    "any": [ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE],
    "any and client": [ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE, CLIENT],
    "mail": [ExtendedKeyUsageOID.EMAIL_PROTECTION],
}
USAGES: dict[str, Sequence[str] | None] = {
    "none": None,
    "signing": BITS[:1],
    "agreeing": BITS[4:5],
    "enciphering": BITS[2:3],
    "committing": BITS[1:2],
    "web": (BITS[0], BITS[2]),
    "authority": BITS[5:],
    "certificates alone": BITS[5:6],
    "lists alone": BITS[6:],
    "everything": BITS,
}


def make_usages() -> Iterator[Chain]:
    for place in (0, 1, 3):
        for extended, oids in EXTENDED.items():
            for usage, bits in USAGES.items():
                if place != 3 and (
                    extended in ("mail", "any and client") or usage in ("agreeing", "committing", "web")
                ):
                    continue
                basic = STRAIGHT[place].basic[:1]
                more = () if oids is None else ((x509.ExtendedKeyUsage(oids), False),)
                usages = () if bits is None else (make_usage(*bits),)
                path = make_path(*put(STRAIGHT, place, replace(STRAIGHT[place], basic=(*basic, *more, *usages))))
                yield next(present(f"extended {extended}, usage {usage} at the {PLACES[place]}", path))


# Name constraints

NAMES: dict[str, tuple[x509.GeneralName, x509.GeneralName, x509.GeneralName]] = {
    # The constraint, a name within, and one outside.
    "dns": (x509.DNSName("ok.example"), x509.DNSName("a.ok.example"), x509.DNSName("a.bad.example")),
    "email": (x509.RFC822Name("ok.example"), x509.RFC822Name("a@ok.example"), x509.RFC822Name("a@bad.example")),
    "ip": (
        x509.IPAddress(ip_network("192.0.2.0/25")),
        x509.IPAddress(ip_address("192.0.2.9")),
        x509.IPAddress(ip_address("192.0.2.200")),
    ),
    "directory": (
        x509.DirectoryName(make_name(organization_name="ok")),
        x509.DirectoryName(make_name("a", organization_name="ok")),
        x509.DirectoryName(make_name("a", organization_name="bad")),
    ),
    "uri": (
        x509.UniformResourceIdentifier("ok.example"),
        x509.UniformResourceIdentifier("https://ok.example/"),
        x509.UniformResourceIdentifier("https://bad.example/"),
    ),
}


def constrain(name: x509.GeneralName, *, permitted: bool) -> x509.NameConstraints:
    return x509.NameConstraints([name], None) if permitted else x509.NameConstraints(None, [name])


def make_name_constraints() -> Iterator[Chain]:
    for kind, (constraint, within, outside) in NAMES.items():
        leaves = {"within": [within], "outside": [outside], "both": [within, outside], "without": []}
        for word, names in leaves.items():
            alternative = ((x509.SubjectAlternativeName(names), False),) if names else ()
            for permitted in (True, False):
                for critical in (True, False):
                    how = f"{'permitted' if permitted else 'excluded'}{'' if critical else ', not critical'}"
                    for place in (0, 1):
                        above = replace(PLAIN, extensions=((constrain(constraint, permitted=permitted), critical),))
                        leaf = replace(DEVICE, extensions=alternative)
                        path = make_path(*put((PLAIN, PLAIN, leaf), place, above))
                        yield next(present(f"{kind} {how} at the {PLACES[place]}, {word}", path))


def make_subject_constraints() -> Iterator[Chain]:
    """Constraints on what stands in the subject."""
    within, outside = make_name("Device", organization_name="ok"), make_name("Device", organization_name="bad")
    subjects = {
        "directory": {"within": within, "outside": outside},
        "email": {f"of {name}": make_name("Device", email_address=name) for name in ("a@ok.example", "a@bad.example")},
        "dns": {f"of {name}": make_name(name) for name in ("a.ok.example", "a.bad.example")},
    }
    for kind, several in subjects.items():
        for permitted in (True, False):
            for critical in (True, False):
                how = f"{'permitted' if permitted else 'excluded'}{'' if critical else ', not critical'}"
                constraint = constrain(NAMES[kind][0], permitted=permitted), critical
                for word, subject in several.items():
                    links = PLAIN, replace(PLAIN, extensions=(constraint,)), replace(DEVICE, subject=subject)
                    yield from present(f"{kind} {how}, a subject {word}", make_path(*links))


def make_several_constraints() -> Iterator[Chain]:
    """One below the other, and on the names of authorities."""
    wide, narrow = (
        replace(PLAIN, extensions=((constrain(x509.DNSName(name), permitted=True), True),))
        for name in ("ok.example", "b.ok.example")
    )
    for name in ("a.ok.example", "a.b.ok.example", "a.bad.example"):
        leaf = replace(DEVICE, extensions=((x509.SubjectAlternativeName([x509.DNSName(name)]), False),))
        for order, links in (("narrowing", (wide, narrow)), ("widening", (narrow, wide))):
            yield from present(f"{order} to {name}", make_path(*links, leaf))
    for kind, (constraint, within, outside) in NAMES.items():
        above = replace(PLAIN, extensions=((constrain(constraint, permitted=True), True),))
        for word, alternative in (("within", within), ("outside", outside)):
            lower = replace(PLAIN, extensions=((x509.SubjectAlternativeName([alternative]), False),))
            yield next(present(f"an intermediate {word} {kind}", make_path(above, lower, DEVICE)))


# Several of one name, and several ways up


def make_twins() -> Iterator[Chain]:
    for how in ("that name their keys", "that do not"):

        def make(name: str, issuer: Pair | None = None, how: str = how, begins: timedelta = -2 * DAY) -> Pair:
            key = ec.generate_private_key(ec.SECP256R1())
            identifiers = make_identifiers(key, issuer) if how == "that name their keys" else ()
            ends = begins + 8 * DAY
            basic = DEVICE.basic if name == "Device" else be_authority()
            return make_certificate(make_name(name), issuer, [*basic, *identifiers], key=key, begins=begins, ends=ends)

        root, twin = make("Root"), make("Root")
        good, lower_twin, stray = make("Lower", root), make("Lower", twin), make("Lower", root)
        device = make("Device", good)
        for word, file in {
            "one": (root,),
            "other first": (twin, root),
            "other last": (root, twin),
            "other": (twin,),
        }.items():
            for among, sent in {
                "alone": (good,),
                "after a twin": (lower_twin, good),
                "before a twin": (good, lower_twin),
                "after a stray": (stray, good),
                "absent, a stray instead": (stray,),
            }.items():
                yield Chain(f"twins {how}, {word}, the intermediate {among}", device, sent, file)
        ended = make("Root", begins=-9 * DAY)
        yield Chain(f"twins {how}, the ended one first", make("Device", root), (), (ended, root))


def make_crosses() -> Iterator[Chain]:
    """One intermediate that two roots have signed: either is enough, and only where all is in order."""
    one, two = make_authority("One"), make_authority("Two")
    subject, key = make_name("Crossed"), ec.generate_private_key(ec.SECP256R1())
    basic = PLAIN.basic

    def cross(issuer: Pair, *extensions: tuple[x509.ExtensionType, bool], ends: timedelta = 60 * DAY) -> Pair:
        return make_certificate(subject, issuer, [*basic, *extensions], key=key, begins=-9 * DAY, ends=ends)

    good, other, ended = cross(one), cross(two), cross(one, ends=-DAY)
    narrow = cross(one, (constrain(x509.DNSName("ok.example"), permitted=True), True))
    servers = cross(one, (x509.ExtendedKeyUsage([SERVER]), False))
    itself = make_certificate(subject, None, basic, key=key)
    alternative = (x509.SubjectAlternativeName([x509.DNSName("a.bad.example")]), False)
    device = make_leaf(good, extensions=[alternative])
    ways = {"good": good, "other": other, "ended": ended, "narrow": narrow, "servers": servers, "itself": itself}
    for first, above in ways.items():
        for second, beside in ways.items():
            if first != second:
                yield Chain(f"crossed: {first} before {second}", device, (above, beside), (one,))
        yield Chain(f"crossed: {first} alone", device, (above,), (one,))
        yield Chain(f"crossed: {first} below both", device, (above,), (two, one))


def make_circles() -> Iterator[Chain]:
    """Authorities that have signed each other, with a way to the root and without."""
    root, stranger = make_authority("Root"), make_authority("Stranger")
    one, two = make_authority("One", root), make_authority("Two", stranger)
    under_two = make_certificate(make_name("One"), two, PLAIN.basic, key=one.key)
    under_one = make_certificate(make_name("Two"), one, PLAIN.basic, key=two.key)
    device = make_leaf(two)
    yield Chain("circle with a way out", device, (under_one, under_two, one), (root,))
    yield Chain("circle without a way out", device, (under_one, under_two), (root,))
    yield Chain("circle below a stranger", device, (two, under_one, under_two), (root,))


# Signatures and keys


def make_signatures() -> Iterator[Chain]:
    def weak(algorithm: bytes, digest: hashes.HashAlgorithm) -> Callable[[Pair, Pair | None], Pair]:
        return lambda pair, issuer: sign_anew(pair, issuer, algorithm, digest)

    changes: dict[str, tuple[Callable[[Pair, Pair | None], Pair], bool]] = {
        "spoilt": (spoil, False),
        "SHA-1 with ECDSA": (weak(SHA1_ECDSA, hashes.SHA1()), False),  # noqa: S303 - that is the point
        "SHA-1 with RSA": (weak(SHA1_RSA, hashes.SHA1()), True),  # noqa: S303
        "MD5 with RSA": (weak(MD5_RSA, hashes.MD5()), True),  # noqa: S303
    }
    for word, (change, wants_rsa) in changes.items():
        for place in range(4):
            links = [replace(each, key=make_rsa(2048)) for each in STRAIGHT] if wants_rsa else list(STRAIGHT)
            links = put(links, place, replace(links[place], change=change))
            yield from present(f"signature {word} at the {PLACES[place]}", make_path(*links))


def make_keys() -> Iterator[Chain]:
    keys: dict[str, Callable[[], Key]] = {
        "RSA of 1024 bits": lambda: make_rsa(1024),
        "RSA of 2048 bits": lambda: make_rsa(2048),
        "P-224": lambda: ec.generate_private_key(ec.SECP224R1()),
        "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
        "P-521": lambda: ec.generate_private_key(ec.SECP521R1()),
        "brainpool": lambda: ec.generate_private_key(ec.BrainpoolP256R1()),
        "secp256k1": lambda: ec.generate_private_key(ec.SECP256K1()),
        "Ed25519": ed25519.Ed25519PrivateKey.generate,
    }
    for word, make in keys.items():
        for place in range(4):
            links = put(STRAIGHT, place, replace(STRAIGHT[place], key=make()))
            yield next(present(f"{word} at the {PLACES[place]}", make_path(*links)))


def make_subjects() -> Iterator[Chain]:
    """Names as they come: empty, long, of several parts, in other letters."""
    subjects = {
        "empty": x509.Name([]),
        "two common names": make_name("a", "b"),
        "in other letters": make_name("Gerät Ж 機"),
        "in one part": x509.Name(
            [
                x509.RelativeDistinguishedName(
                    [x509.NameAttribute(NameOID.COMMON_NAME, "a"), x509.NameAttribute(NameOID.USER_ID, "b")]
                )
            ]
        ),
    }
    for word, subject in subjects.items():
        yield from present(f"subject {word}", make_path(PLAIN, PLAIN, replace(DEVICE, subject=subject)))
        yield from present(f"intermediate's subject {word}", make_path(PLAIN, replace(PLAIN, subject=subject), DEVICE))
    for word, other in (("case", "ca 0"), ("spaces", "CA  0")):
        root, device = make_path(PLAIN, DEVICE)
        named = Pair(root.certificate, root.key)
        disguised = make_certificate(make_name(other), None, PLAIN.basic, key=named.key)
        yield Chain(f"issuer in another {word}", make_leaf(disguised), (), (root,))
        yield Chain(f"root in another {word}", device, (), (disguised,))


def make_chains() -> Iterator[Chain]:
    """All of the above; each has a name of its own."""
    yield from make_lengths()
    yield from make_path_lengths()
    yield from make_times()
    yield from make_odd_extensions()
    yield from make_basic_constraints()
    yield from make_usages()
    yield from make_name_constraints()
    yield from make_subject_constraints()
    yield from make_several_constraints()
    yield from make_twins()
    yield from make_crosses()
    yield from make_circles()
    yield from make_signatures()
    yield from make_keys()
    yield from make_subjects()
