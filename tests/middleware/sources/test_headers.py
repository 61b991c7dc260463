"""sources.headers: one unmistakable place for a certificate, or none."""

from collections.abc import Sequence
from ipaddress import ip_network
from typing import Any

import pytest

from certificates import make_authority, make_leaf
from exchanges import make_request, make_scope
from keyfob.errors import HeaderError, HeaderMalformed, HeaderTooLarge, Missing, PeerNotTrusted, Untrusted
from keyfob.request import IDENTITY, SOCKET_PEER, UNCLEAR, Request, find_host
from keyfob.sources.formats import FORMATS
from keyfob.sources.headers import LARGEST_CERTIFICATE, LAYOUTS, HeaderSource
from keyfob.sources.peers import Peers
from proxied import SAMPLES, base64, escaped, sequence

Fields = Sequence[tuple[bytes, bytes]]
ROOT = make_authority()
INTERMEDIATE = make_authority("Intermediate", ROOT)
LEAF, VICTIM = make_leaf(INTERMEDIATE), make_leaf(ROOT, "Victim")
SECRET = b"0123456789abcdef0123456789abcdef"


def source(name: str = "nginx", **more: Any) -> HeaderSource:
    return HeaderSource(FORMATS[name], Peers([ip_network("127.0.0.1")]), **more)


def request(headers: Fields, peer: str = "127.0.0.1") -> Request:
    return make_request(make_scope(None, headers=headers, extensions={SOCKET_PEER: {"client": (peer, 1)}}), 0)


def present(headers: Fields, reader: HeaderSource | None = None, peer: str = "127.0.0.1") -> object:
    return (reader or source()).presented(request(headers, peer))


def see(headers: Fields, reader: HeaderSource | None = None) -> object:
    """What the app sees of a request's headers."""
    return (reader or source()).receive(request(headers).scope, 0).visible


def see_all(headers: Fields, reader: HeaderSource) -> Request:
    """The request as the skin gets it."""
    return reader.receive(request(headers).scope, 0)


NGINX = SAMPLES["nginx"]([LEAF])
HOST = (b"host", b"money.example.com")


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("forged_first", [True, False])
def test_a_header_that_comes_twice_is_refused(name: str, forged_first: bool) -> None:
    """Whichever of the two is the proxy's: programs differ in which they take."""
    single = {FORMATS[name].certificate, *FORMATS[name].proofs}
    for header, value in SAMPLES[name]([LEAF]):
        if header.decode() not in single:
            continue
        forged = (header, dict(SAMPLES[name]([VICTIM]))[header])
        rest = [each for each in SAMPLES[name]([LEAF]) if each[0] != header]
        pair = [forged, (header, value)] if forged_first else [(header, value), forged]
        with pytest.raises(HeaderMalformed, match="twice"):
            present([*rest, *pair], source(name))


@pytest.mark.parametrize("name", FORMATS)
def test_an_alias_is_refused(name: str) -> None:
    """Beside the real header and alone, with underscores, dots, or in another letter case."""
    real = SAMPLES[name]([LEAF, INTERMEDIATE])
    own = {header.encode() for header in FORMATS[name].headers}
    for header, value in [each for each in real if each[0] in own]:
        head, _, tail = header.partition(b"-")
        for alias in (header.replace(b"-", b"_"), header.replace(b"-", b"."), head + b"_" + tail, header.title()):
            for headers in ([*real, (alias, value)], [(alias, value), *real], [(alias, value)]):
                with pytest.raises(HeaderMalformed, match="alias"):
                    present(headers, source(name))


def test_nobody_else_is_even_looked_at() -> None:
    """From a peer that is not trusted, headers are refused for that reason, however they look."""
    for headers in (NGINX, [*NGINX, *NGINX], [(b"x_ssl_client_cert", b"x")], []):
        with pytest.raises(PeerNotTrusted):
            present(headers, peer="203.0.113.9")


def test_a_long_header_is_refused_before_it_is_decoded() -> None:
    """The limit is for the leaf and its chain together, and the configuration can move it."""
    fits = b"x" * LARGEST_CERTIFICATE
    with pytest.raises(HeaderMalformed):
        source().read(fits)
    with pytest.raises(HeaderTooLarge, match="16384") as raised:
        source().read(fits + b"x")
    assert "largest_certificate" in raised.value.hint
    with pytest.raises(HeaderTooLarge):
        source(largest=100).read(escaped(LEAF))
    with pytest.raises(HeaderTooLarge):
        source("rfc9440").read((sequence(LEAF), b"x" * 8_000, b"x" * 8_000))


def test_a_chain_may_come_on_several_lines() -> None:
    """RFC 9440 section 2.3: it is a list, unlike the leaf."""
    reader = source("rfc9440")
    lines = [(b"client-cert-chain", sequence(INTERMEDIATE)), (b"client-cert-chain", sequence(ROOT))]
    presented = present([(b"client-cert", sequence(LEAF)), *lines], reader)
    assert reader.read(presented) == (LEAF.pem, INTERMEDIATE.pem, ROOT.pem)  # type: ignore[arg-type]


def test_a_chain_without_a_leaf_is_no_certificate() -> None:
    """RFC 9440 section 2.4: the chain means something beside the leaf alone."""
    with pytest.raises(Missing):
        present([(b"client-cert-chain", sequence(LEAF))], source("rfc9440"))


@pytest.mark.parametrize("above", [b":", b"x", b":AA==:,", b":AA==:;a", b"(:AA==:)", b":AA==: :AA==:"])
def test_a_chain_that_is_no_list_is_refused(above: bytes) -> None:
    """Nothing that cannot be read is left out and gone on without."""
    reader = source("rfc9440")
    presented = present([(b"client-cert", sequence(LEAF)), (b"client-cert-chain", above)], reader)
    with pytest.raises(HeaderMalformed):
        reader.read(presented)  # type: ignore[arg-type]


def test_a_verdict_without_a_certificate_says_what_is_missing() -> None:
    """ingress-nginx does this unless it is told to pass the certificate."""
    with pytest.raises(Missing, match="in spite of ssl-client-verify: SUCCESS"):
        present([(b"ssl-client-verify", b"SUCCESS")], source("ingress-nginx"))


def test_no_policy_is_asked_about_a_tunnel() -> None:
    """CONNECT, once answered with 200, would let the client write the proxy's headers."""
    reader = source()
    present(NGINX, reader)
    scope = dict(request(NGINX).scope) | {"method": "CONNECT"}
    assert reader.receive(scope, 0).presented is None
    with pytest.raises(HeaderMalformed, match="CONNECT"):
        reader.presented(make_request(scope, 0))


def test_the_log_says_where_the_certificate_may_have_gone() -> None:
    """Into another format's header, or into another gate."""
    with pytest.raises(Missing) as raised:
        present(SAMPLES["caddy"]([LEAF]))
    assert "x-ssl-client-der" in raised.value.hint
    twice = make_scope(None, extensions={SOCKET_PEER: {"client": ("127.0.0.1", 1)}}) | {IDENTITY: object()}
    with pytest.raises(Missing) as raised:
        source().presented(make_request(twice, 0))
    assert "keep one of the two" in raised.value.hint


def test_the_app_sees_no_certificate_header_of_any_format() -> None:
    """Neither this proxy's, nor one that the client wrote for another, nor an alias of one."""
    everything = [field for sample in SAMPLES.values() for field in sample([LEAF, INTERMEDIATE])]
    aliases = [(name.replace(b"-", b"_").upper(), value) for name, value in everything]
    harmless = [(b"accept", b"*/*"), (b"cookie", b"a"), (b"cookie", b"b")]
    seen = see([harmless[0], *everything, *aliases, *harmless[1:]])
    assert isinstance(seen, list)
    assert [field for field in seen if field[0] != b"x-ssl" and field[0] != b"X_SSL"] == [HOST, *harmless]


@pytest.mark.parametrize("harmless", [[], [(b"accept", b"*/*")], [(b"accept", b"*/*"), (b"cookie", b"x")]])
def test_what_the_app_sees_is_a_list_of_its_own(harmless: Fields) -> None:
    """Of any length, and not the server's."""
    scope = request([*harmless, *NGINX]).scope
    assert source().receive(scope, 0).visible == [HOST, *harmless]
    assert scope["headers"] == [HOST, *harmless, *NGINX]


def test_the_secret_is_asked_for_and_hidden() -> None:
    """Under its own name once, and under no alias of it."""
    name = "X-Proxy-Secret"
    reader = HeaderSource(FORMATS["nginx"], Peers(secret=SECRET), secret_header=name)
    secret = (b"x-proxy-secret", SECRET)
    assert reader.presented(request([*NGINX, secret], "203.0.113.9")) == NGINX[1][1]
    assert see([*NGINX, secret], reader) == [HOST]
    assert reader.hides(b"X_Proxy.Secret")
    for headers in (NGINX, [*NGINX, secret, secret], [*NGINX, (b"x-proxy-secret", SECRET[::-1])]):
        with pytest.raises(PeerNotTrusted):
            reader.presented(request(headers, "203.0.113.9"))
    with pytest.raises(HeaderMalformed):
        reader.presented(request([*NGINX, secret, (b"x_proxy_secret", SECRET)], "203.0.113.9"))


@pytest.mark.parametrize(
    "hosts", [[], [b"a.example"], [b"A.example:443"], [b"a.example", b"a.example"], [b"a b"], [b"x" * 300]]
)
def test_the_host_is_the_one_that_every_source_finds(hosts: list[bytes]) -> None:
    """One rule, though this source finds it on the way."""
    scope = make_scope(None, host=None, headers=[*NGINX, *((b"host", host) for host in hosts)])
    assert source().receive(scope, 0).host == find_host(scope["headers"])


def test_what_was_believed_once_is_believed_at_a_glance() -> None:
    """The same names, the same verdict, and a server of ours that names the same peer: nothing else will do."""
    reader = source()
    assert see_all(NGINX, reader).presented is None
    present(NGINX, reader)
    assert see_all(NGINX, reader).presented == NGINX[1][1]
    assert see_all(NGINX, reader).visible == [HOST]
    failed = [(NGINX[0][0], b"NONE"), NGINX[1]]
    for doubtful in (failed, [*NGINX, NGINX[1]], [*NGINX, (b"x_ssl_client_cert", b"x")], NGINX[1:], NGINX[::-1]):
        assert see_all(doubtful, reader).presented is None
    for extensions in ({}, None, {SOCKET_PEER: {"client": None}}, {SOCKET_PEER: {"client": ("127.0.0.2", 1)}}):
        assert reader.receive(make_scope(None, headers=NGINX, extensions=extensions), 0).presented is None
    told = {SOCKET_PEER: {"client": ("127.0.0.1", 1)}}
    assert reader.receive(make_scope(None, headers=NGINX, extensions=told), 0).presented == NGINX[1][1]
    unclear = {**told, UNCLEAR: "merged"}
    assert reader.receive(make_scope(None, headers=NGINX, extensions=unclear), 0).presented is None


@pytest.mark.parametrize("name", ["rfc9440", "gcp", "nginx"])
def test_what_needs_more_than_a_glance_gets_it_every_time(name: str) -> None:
    """A chain on lines of its own, and a secret, which has to come with each request."""
    secret = name == "nginx"
    peers = Peers(secret=SECRET) if secret else Peers([ip_network("127.0.0.1")])
    reader = HeaderSource(FORMATS[name], peers, secret_header="X-Proxy-Secret" if secret else "")
    headers = [*SAMPLES[name]([LEAF, INTERMEDIATE]), *([(b"x-proxy-secret", SECRET)] if secret else [])]
    for _ in range(3):
        assert see_all(headers, reader).presented is None
        present(headers, reader)


def test_an_arrangement_is_known_by_its_names_and_their_number() -> None:
    """A trusted one does not stand in for another whose names join to the same text."""
    reader = source()
    present([(b"a", b""), *NGINX], reader)
    joined = [(b"a\nx-ssl-client-verify\nx-ssl-client-cert", b"")]
    assert see(joined, reader) == [HOST, *joined]
    with pytest.raises(Untrusted, match="is missing"):
        present([(b"a\nx-ssl-client-verify", b"SUCCESS"), NGINX[1]], reader)
    mixed = [(b"a\nx-ssl-client-verify", b"SUCCESS"), NGINX[1]]
    assert see_all(mixed, reader).presented is None


def test_arrangements_are_remembered_within_bounds_and_for_certificates_alone() -> None:
    """Whoever invents header names fills no memory."""
    reader = source()
    for number in range(LAYOUTS * 2):
        name = b"x-%d" % number
        with pytest.raises(Missing):
            present([(name, b"")], reader)
    assert not reader._layouts
    for number in range(LAYOUTS * 2 + 1):
        present([(b"x-%d" % number, b""), *NGINX], reader)
        assert 1 <= len(reader._layouts) <= LAYOUTS


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("nginx", b"garbage" * 20),
        ("nginx", base64(LEAF)),
        ("nginx", escaped(LEAF) + b"x"),
        ("nginx", escaped(LEAF, LEAF)),
        ("nginx", escaped(LEAF).replace(b"%2B", b"+").replace(b"%20", b"+")),
        ("haproxy", escaped(LEAF)),
        ("haproxy", base64(LEAF)[:-1]),
        ("haproxy", base64(LEAF) + b"="),
        ("haproxy", base64(LEAF)[:50] + b"\n" + base64(LEAF)[50:]),
        ("rfc9440", base64(LEAF)),
        ("rfc9440", sequence(LEAF) + b";q=1"),
        ("rfc9440", sequence(LEAF) + sequence(LEAF)),
    ],
)
def test_what_is_not_exactly_the_encoding_is_refused(name: str, value: bytes) -> None:
    """As a header error, which no policy is asked about."""
    reader = source(name)
    header = FORMATS[name].certificate.encode()
    headers = [field for field in SAMPLES[name]([LEAF]) if field[0] != header]
    with pytest.raises(HeaderError):
        reader.read(present([*headers, (header, value)], reader))  # type: ignore[arg-type]
