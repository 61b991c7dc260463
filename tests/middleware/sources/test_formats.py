"""sources.formats: every row of the table, with what its proxy really sends."""

from collections.abc import Sequence
from ipaddress import ip_network

import pytest

from certificates import Pair, make_authority, make_leaf
from exchanges import make_request, make_scope
from keyfob.errors import HeaderMalformed, Missing, Untrusted
from keyfob.request import SOCKET_PEER, Request
from keyfob.sources.formats import FORMATS, NO_CERTIFICATE, Verdict, canonical, is_certificate_header
from keyfob.sources.headers import HeaderSource
from keyfob.sources.peers import Peers
from proxied import NONE, SAMPLES, escaped, xfcc

ROOT = make_authority()
INTERMEDIATE = make_authority("Intermediate", ROOT)
LEAF, OTHER = make_leaf(INTERMEDIATE), make_leaf(ROOT, "Second device")

# The formats that the project promises, and which of them bring the chain along.
PROMISED = [
    *("rfc9440", "nginx", "ingress-nginx", "apache", "haproxy", "envoy", "istio", "traefik", "caddy"),
    *("aws-alb", "aws-alb-passthrough", "cloudfront", "gcp", "azure-app-service", "azure-app-gateway", "cloudflare"),
    *("kong", "openshift"),
]
WITH_CHAIN = {"rfc9440", "envoy", "istio", "traefik", "aws-alb-passthrough", "gcp"}
WITH_VERDICT = [name for name, form in FORMATS.items() if form.proofs]


def source(name: str) -> HeaderSource:
    return HeaderSource(FORMATS[name], Peers([ip_network("127.0.0.1")]))


def request(headers: Sequence[tuple[bytes, bytes]]) -> Request:
    """As a server of ours hands it over."""
    return make_request(make_scope(None, headers=headers, extensions={SOCKET_PEER: {"client": ("127.0.0.1", 1)}}), 0)


def read(name: str, headers: Sequence[tuple[bytes, bytes]]) -> tuple[str, ...]:
    reader = source(name)
    return reader.read(reader.presented(request(headers)))  # type: ignore[arg-type]


def without(headers: Sequence[tuple[bytes, bytes]], name: str) -> list[tuple[bytes, bytes]]:
    return [(each, value) for each, value in headers if each != name.encode("ascii")]


def test_every_promised_format_is_a_row_with_samples() -> None:
    """A format without a sample of what it sends, and of what it sends without a certificate, is none."""
    assert set(FORMATS) == set(PROMISED) == set(SAMPLES) == set(NONE)


@pytest.mark.parametrize("name", PROMISED)
@pytest.mark.parametrize("chain", [[LEAF], [LEAF, INTERMEDIATE, ROOT]], ids=["leaf", "chain"])
def test_a_certificate_arrives_as_it_was_issued(name: str, chain: Sequence[Pair]) -> None:
    """Byte for byte; with the chain above it where the format has one."""
    expected = chain if name in WITH_CHAIN else chain[:1]
    assert read(name, SAMPLES[name](chain)) == tuple(pair.pem for pair in expected)


@pytest.mark.parametrize("name", PROMISED)
def test_no_certificate_is_none(name: str) -> None:
    """In the spelling of this proxy, and without any header at all."""
    for headers in (NONE[name], []):
        with pytest.raises(Missing):
            read(name, headers)


@pytest.mark.parametrize("name", PROMISED)
@pytest.mark.parametrize("spelling", sorted(NO_CERTIFICATE))
def test_every_spelling_of_none_is_none(name: str, spelling: bytes) -> None:
    """Even beside a verdict that says SUCCESS, and with blanks around it."""
    header = FORMATS[name].certificate.encode("ascii")
    for value in (spelling, b" " + spelling + b"\t"):
        with pytest.raises(Missing):
            read(name, [*without(SAMPLES[name]([LEAF]), FORMATS[name].certificate), (header, value)])


@pytest.mark.parametrize("name", WITH_VERDICT)
def test_a_verdict_that_is_missing_means_not_verified(name: str) -> None:
    """However good the certificate looks: some proxy was set up wrongly, or somebody took the header away."""
    for proof in FORMATS[name].proofs:
        with pytest.raises(Untrusted, match="is missing"):
            read(name, without(SAMPLES[name]([LEAF]), proof))


@pytest.mark.parametrize("name", WITH_VERDICT)
@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"NONE",
        b"FAILED",
        b"FAILED:certificate has expired",
        b"GENEROUS",
        b"PASSTHROUGH",
        b"SUCCESSFUL",
        b"success",
        b"SUCCESS,NONE",
        b"SUCCESS SUCCESS",
        b"01",
        b"00",
        b"18",
        b"-0",
        b"1,1",
        b"True",
        b"false",
    ],
)
def test_any_other_verdict_means_not_verified(name: str, said: bytes) -> None:
    """There is one good word, and it is compared exactly."""
    for proof in FORMATS[name].proofs:
        headers = [*without(SAMPLES[name]([LEAF]), proof), (proof.encode("ascii"), said)]
        with pytest.raises(Untrusted, match="did not verify"):
            read(name, headers)


@pytest.mark.parametrize("name", WITH_VERDICT)
def test_blanks_around_a_verdict_do_not_matter(name: str) -> None:
    """RFC 9110 section 5.5 calls them no part of the value, and some servers leave them in."""
    padded = [(header, b" " + value + b" ") for header, value in SAMPLES[name]([LEAF])]
    assert read(name, padded)[0] == LEAF.pem


@pytest.mark.parametrize("name", PROMISED)
def test_two_values_where_one_is_meant_are_refused(name: str) -> None:
    """Joined with a comma, as some programs join what came twice: no proxy writes that, so somebody else did."""
    for joined in (b",", b", "):
        headers = [
            (header, value + joined + other)
            for (header, value), (_, other) in zip(SAMPLES[name]([LEAF]), SAMPLES[name]([OTHER]), strict=True)
        ]
        if name == "traefik" and joined == b",":
            # Here a comma stands between a leaf and what the client sent beside it: the first is the leaf.
            assert read(name, headers)[0] == LEAF.pem
            continue
        with pytest.raises((HeaderMalformed, Untrusted)):
            read(name, headers)


def test_apache_may_escape_instead_of_writing_spaces() -> None:
    """`%{escape:…}` writes lower-case digits and leaves plus, slash and equals sign alone."""
    value = escaped(LEAF, safe="+/=").lower()
    lower = escaped(LEAF, safe="+/=").replace(b"%0A", b"%0a")
    assert value != lower
    assert read("apache", [(b"x-ssl-client-verify", b"SUCCESS"), (b"x-ssl-client-cert", lower)]) == (LEAF.pem,)


@pytest.mark.parametrize(
    "field",
    [
        xfcc(OTHER) + b"," + xfcc(LEAF),
        xfcc(LEAF) + b"," + xfcc(LEAF),
        xfcc(LEAF) + b',By=spiffe://x;Hash=00;URI="x"',
        xfcc(LEAF).replace(b"Hash=", b"Hash=0"),
        xfcc(LEAF).split(b";")[1],
        xfcc(LEAF).split(b";")[0],
        xfcc(LEAF).split(b";")[0] + b";" + xfcc(OTHER).split(b";")[1],
        xfcc(LEAF) + b";" + xfcc(LEAF).split(b";")[1],
        xfcc(LEAF) + b";" + xfcc(OTHER).split(b";")[1],
        xfcc(LEAF) + b";" + xfcc(LEAF).split(b";")[0],
        xfcc(LEAF) + b';Chain="' + escaped(OTHER) + b'"',
        xfcc(LEAF) + b';URI=spiffe://x/a;Cert="' + escaped(OTHER) + b'"',
    ],
)
def test_an_envoy_field_with_more_than_one_meaning_is_refused(field: bytes) -> None:
    """Two elements, a fingerprint of something else, or a pair that a name in the certificate has smuggled in."""
    with pytest.raises(HeaderMalformed):
        read("envoy", [(b"x-forwarded-client-cert", field)])


def test_every_format_says_where_its_verdict_comes_from() -> None:
    """A header that proves it stands in the row; a row without one has to be declared, or never verifies."""
    for form in FORMATS.values():
        assert bool(form.proofs) == (form.verdict is Verdict.HEADER)


@pytest.mark.parametrize("name", PROMISED)
def test_names_in_the_table_are_spelled_as_servers_deliver_them(name: str) -> None:
    """Lower case with hyphens: anything else would never be found, or would be its own alias."""
    for header in FORMATS[name].headers:
        assert canonical(header.encode("ascii")) == header.encode("ascii")


@pytest.mark.parametrize("name", PROMISED)
def test_all_that_a_proxy_writes_is_hidden_from_the_app(name: str) -> None:
    """Whichever format is configured, and in every spelling that a gateway could take for it."""
    for header, _ in [*SAMPLES[name]([LEAF, INTERMEDIATE]), *NONE[name]]:
        if header == b"x-ssl":
            continue  # It speaks of the connection alone.
        for alias in (header, header.upper(), header.replace(b"-", b"_"), header.replace(b"-", b".", 1)):
            assert is_certificate_header(alias), alias


@pytest.mark.parametrize("name", [b"accept", b"cookie", b"x-forwarded-for", b"cert", b"client", b"x-client", b"x-ssl"])
def test_other_headers_are_left_alone(name: bytes) -> None:
    """What has nothing to do with certificates belongs to the app."""
    assert not is_certificate_header(name)
