"""config.source: what a [source] may say, and what is said about one that cannot be obeyed."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from certificates import make_authority, make_leaf
from exchanges import make_request, make_scope
from keyfob.config import load_gate
from keyfob.errors import ConfigError, Problem, Reason
from keyfob.gate import Gate
from keyfob.policy import Allow, Decision, Deny
from keyfob.request import SOCKET_PEER
from keyfob.sources.encodings import ENCODINGS
from keyfob.sources.formats import FORMATS, Verdict
from proxied import SAMPLES, base64, escaped, sequence, xfcc

ROOT = make_authority()
LEAF = make_leaf(ROOT)
NOW = LEAF.certificate.not_valid_before_utc.timestamp() + 43_200
PEERS = ["127.0.0.1"]
SECRET = "0123456789abcdef" * 2


def header(**more: Any) -> dict[str, Any]:
    return {"kind": "header", "format": "nginx", "trusted_proxies": PEERS} | more


def custom(**more: Any) -> dict[str, Any]:
    named = {"certificate_header": "X-My-Cert", "encoding": "pem", "verify_header": "X-My-Verify", "verified": "OK"}
    return {key: value for key, value in (header(format="custom") | named | more).items() if value is not None}


def load(folder: Path, source: dict[str, Any], include: Sequence[Any] = ({"certificate": {}},)) -> Gate:
    return load_policies(folder, [{"name": "p", "decision": "non_identity", "include": list(include)}], source)


def load_policies(folder: Path, policies: list[dict[str, Any]], source: dict[str, Any] | None = None) -> Gate:
    (folder / "ca.pem").write_text(ROOT.pem)
    (folder / "secret").write_text(SECRET + "\n")
    document = {
        "source": header() if source is None else source,
        "root_certificates": [
            {"name": "r", "certificate": "ca.pem", "associated_hostnames": ["money.example.com"]},
        ],
        "applications": [{"name": "Budget", "domain": "money.example.com", "policies": policies}],
    }
    path = folder / "access.json"
    path.write_text(json.dumps(document))
    return load_gate(path)


def problems(folder: Path, source: dict[str, Any]) -> list[Problem]:
    with pytest.raises(ConfigError) as raised:
        load(folder, source)
    return list(raised.value.problems)


def check(gate: Gate, headers: Sequence[tuple[bytes, bytes]], peer: str | None = "127.0.0.1") -> Decision:
    told = {"client": None if peer is None else (peer, 1)}
    server = ("127.0.0.1", 8000) if peer else ("/run/app.sock", None)
    scope = make_scope(None, headers=headers, server=server, extensions={SOCKET_PEER: told})
    return gate.check(make_request(scope, NOW))


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_opens_the_door_for_its_own_header(tmp_path: Path, name: str) -> None:
    """From a trusted proxy; with the declaration where the row asks for one."""
    declared = {"proxy_verifies": True} if FORMATS[name].verdict is Verdict.DECLARED else {}
    gate = load(tmp_path, header(format=name, **declared))
    assert isinstance(check(gate, SAMPLES[name]([LEAF])), Allow)
    refused = check(gate, SAMPLES[name]([LEAF]), "203.0.113.9")
    assert isinstance(refused, Deny)
    assert refused.reason is Reason.PEER_NOT_TRUSTED


@pytest.mark.parametrize("name", [name for name, form in FORMATS.items() if form.verdict is Verdict.DECLARED])
@pytest.mark.parametrize("said", [None, False])
def test_a_format_without_a_verdict_has_to_be_declared(tmp_path: Path, name: str, said: bool | None) -> None:
    """The hint says what to do first, and then what to write."""
    declared = {} if said is None else {"proxy_verifies": said}
    [problem] = problems(tmp_path, header(format=name, **declared))
    assert problem.place == "source.proxy_verifies"
    assert "proxy_verifies = true" in problem.hint


@pytest.mark.parametrize("name", [name for name, form in FORMATS.items() if form.verdict is not Verdict.DECLARED])
@pytest.mark.parametrize("said", [True, False])
def test_a_declaration_that_changes_nothing_is_refused(tmp_path: Path, name: str, said: bool) -> None:
    """Somebody might believe that it does."""
    [problem] = problems(tmp_path, header(format=name, proxy_verifies=said))
    assert problem.place == "source.proxy_verifies"
    assert "leave it out" in problem.hint


def test_passthrough_needs_roots_here(tmp_path: Path) -> None:
    """A certificate that no proxy has verified counts for nothing without them."""
    document = {
        "source": header(format="aws-alb-passthrough"),
        "applications": [
            {
                "name": "Budget",
                "domain": "money.example.com",
                "policies": [{"name": "p", "decision": "non_identity", "include": [{"certificate": {}}]}],
            }
        ],
    }
    path = tmp_path / "access.json"
    path.write_text(json.dumps(document))
    with pytest.raises(ConfigError, match="no root certificate is associated"):
        load_gate(path)


CUSTOM = {
    "pem": escaped(LEAF),
    "pem-chain": escaped(LEAF, ROOT),
    "der": base64(LEAF),
    "der-list": base64(LEAF) + b"," + base64(ROOT),
    "byte-sequence": sequence(LEAF),
    "xfcc": xfcc(LEAF),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_format_of_ones_own(tmp_path: Path, encoding: str) -> None:
    """A name, an encoding, and the header that says so, with the one good word."""
    gate = load(tmp_path, custom(encoding=encoding))
    value = CUSTOM[encoding]
    good = [(b"x-my-cert", value), (b"x-my-verify", b"OK")]
    assert isinstance(check(gate, good), Allow)
    for headers in ([(b"x-my-cert", value)], [(b"x-my-cert", value), (b"x-my-verify", b"SUCCESS")]):
        refused = check(gate, headers)
        assert isinstance(refused, Deny)
        assert refused.reason is Reason.CERTIFICATE_UNTRUSTED
    assert gate.source.hides(b"x_my_cert")
    assert gate.source.hides(b"X-My-Verify")


def test_a_format_of_ones_own_may_be_declared(tmp_path: Path) -> None:
    """Where the proxy writes no verdict."""
    gate = load(tmp_path, custom(verify_header=None, verified=None, proxy_verifies=True))
    assert isinstance(check(gate, [(b"x-my-cert", escaped(LEAF))]), Allow)


def test_a_unix_socket_and_networks_can_be_named_together(tmp_path: Path) -> None:
    """Each of them opens, and nothing else."""
    gate = load(tmp_path, header(trusted_proxies=["unix", "10.0.0.0/8", "2001:db8::1"]))
    headers = SAMPLES["nginx"]([LEAF])
    for peer in (None, "10.1.2.3", "::ffff:10.1.2.3", "2001:db8::1"):
        assert isinstance(check(gate, headers, peer), Allow), peer
    for peer in ("127.0.0.1", "2001:db8::2"):
        assert isinstance(check(gate, headers, peer), Deny), peer


def test_a_shared_secret_stands_in_for_addresses(tmp_path: Path) -> None:
    """Read from a file, without the line end that editors leave; asked for beside addresses if both are given."""
    secret = {"header": "X-Proxy-Secret", "file": "secret"}
    headers = SAMPLES["nginx"]([LEAF])
    proven = [*headers, (b"x-proxy-secret", SECRET.encode())]
    alone = load(tmp_path, {"kind": "header", "format": "nginx", "shared_secret": secret})
    assert isinstance(check(alone, proven, "203.0.113.9"), Allow)
    assert isinstance(check(alone, headers), Deny)
    both = load(tmp_path, header(shared_secret=secret))
    assert isinstance(check(both, proven), Allow)
    assert isinstance(check(both, proven, "203.0.113.9"), Deny)
    assert isinstance(check(both, headers), Deny)


@pytest.mark.parametrize("content", ["", "short", "x" * 31, "x" * 20 + " " + "y" * 20, "ü" * 40])
def test_a_secret_that_can_be_guessed_or_mangled_is_refused(tmp_path: Path, content: str) -> None:
    """The hint makes a good one."""
    (tmp_path / "weak").write_text(content, encoding="utf-8")
    [problem] = problems(tmp_path, header(shared_secret={"header": "X-Proxy-Secret", "file": "weak"}))
    assert problem.place == "source.shared_secret.file"
    assert "openssl rand" in problem.hint
    assert not content or content not in str(problem)


def test_the_limit_can_be_moved(tmp_path: Path) -> None:
    """In bytes of the header's value."""
    gate = load(tmp_path, header(largest_certificate=1024))
    refused = check(gate, [(b"x-ssl-client-cert", b"x" * 1025), (b"x-ssl-client-verify", b"SUCCESS")])
    assert isinstance(refused, Deny)
    assert refused.reason is Reason.HEADER_TOO_LARGE


def test_rules_about_addresses_see_the_client_beyond_the_proxy(tmp_path: Path) -> None:
    """From the header that the configuration names."""
    include = [{"ip": {"ip": "203.0.113.0/24"}}]
    hops = {"X-Forwarded-For": b"192.0.2.1, 203.0.113.9", "Forwarded": b"for=192.0.2.1, for=203.0.113.9"}
    for name, value in hops.items():
        gate = load(tmp_path, header(client_address=name), include)
        assert isinstance(check(gate, [(name.lower().encode(), value)]), Allow)
        assert isinstance(check(gate, [(name.lower().encode(), value + b", " + value[:13])]), Deny)
        assert isinstance(check(gate, []), Deny)
    assert isinstance(check(load(tmp_path, header(), include), [(b"forwarded", hops["Forwarded"])]), Deny)


@pytest.mark.parametrize("hidden", [b"", b"garbage", b"198.51.100.9, unknown", None])
def test_an_address_that_nobody_can_tell_is_shut_out(tmp_path: Path, hidden: bytes | None) -> None:
    """By a deny and by an exclude: hiding an address is no way around a rule about it."""
    headers = [*SAMPLES["nginx"]([LEAF]), *([] if hidden is None else [(b"x-forwarded-for", hidden)])]
    clear = [*SAMPLES["nginx"]([LEAF]), (b"x-forwarded-for", b"203.0.113.9")]
    address = {"ip": {"ip": "198.51.100.0/24"}}
    device = {"name": "d", "decision": "non_identity", "include": [{"certificate": {}}]}
    for policy in (
        device | {"exclude": [address]},
        device | {"require": [{"ip": {"ip": "203.0.113.0/24"}}]},
    ):
        gate = load_policies(tmp_path, [policy])
        assert isinstance(check(gate, clear), Allow)
        assert isinstance(check(gate, headers), Deny)
    deny = {"name": "n", "decision": "deny", "include": [address]}
    refused = check(load_policies(tmp_path, [deny]), headers)
    assert isinstance(refused, Deny)
    assert refused.reason is Reason.BLOCKED_BY_POLICY


BROKEN: dict[str, tuple[dict[str, Any], str, str]] = {
    "no format": ({"kind": "header", "trusted_proxies": PEERS}, "source.format", "known: rfc9440, nginx"),
    "unknown format": (header(format="ngnix"), "source.format", "did you mean 'nginx'?"),
    "nobody trusted": ({"kind": "header", "format": "nginx"}, "source.trusted_proxies", "anybody could write"),
    "an empty list": (header(trusted_proxies=[]), "source.trusted_proxies", "is empty"),
    "everybody trusted": (header(trusted_proxies=["0.0.0.0/0"]), "source.trusted_proxies[0]", "believe everybody"),
    "everybody on IPv6": (header(trusted_proxies=["::/0"]), "source.trusted_proxies[0]", "believe everybody"),
    "a star": (header(trusted_proxies=["*"]), "source.trusted_proxies[0]", "neither an address nor a network"),
    "a host name": (header(trusted_proxies=["proxy.local"]), "source.trusted_proxies[0]", "neither an address"),
    "host bits": (header(trusted_proxies=["10.0.0.1/8"]), "source.trusted_proxies[0]", "neither an address"),
    "a number": (header(trusted_proxies=[2130706433]), "source.trusted_proxies[0]", "neither an address"),
    "a text for a list": (header(trusted_proxies="127.0.0.1"), "source.trusted_proxies", "is not a list"),
    "keys of another kind": ({"kind": "tls", "trusted_proxies": PEERS}, "source.trusted_proxies", "goes with kind"),
    "a misspelled key": (header(trusted_proxy=PEERS), "source.trusted_proxy", "did you mean 'trusted_proxies'?"),
    "yes for true": (header(format="caddy", proxy_verifies="yes"), "source.proxy_verifies", "true or false"),
    "a limit of nothing": (header(largest_certificate=0), "source.largest_certificate", "is too small"),
    "a limit without end": (header(largest_certificate=10**9), "source.largest_certificate", "is too large"),
    "a limit in words": (header(largest_certificate="16k"), "source.largest_certificate", "not a whole number"),
    "another forwarding header": (header(client_address="X-Real-IP"), "source.client_address", "X-Forwarded-For"),
    "custom keys without custom": (header(encoding="pem"), "source.encoding", 'goes with format = "custom"'),
    "custom without a name": (custom(certificate_header=None), "source.certificate_header", "is missing"),
    "custom without an encoding": (custom(encoding=None), "source.encoding", "known: pem"),
    "an unknown encoding": (custom(encoding="perm"), "source.encoding", "did you mean 'pem'?"),
    "half a verdict": (custom(verified=None), "source.verified", "the two go together"),
    "the other half": (custom(verify_header=None), "source.verify_header", "the two go together"),
    "no verdict at all": (custom(verify_header=None, verified=None), "source.proxy_verifies", "does not say"),
    "one header for both": (custom(verify_header="x-my-CERT"), "source.verify_header", "the certificate's own header"),
    "an empty good word": (custom(verified=""), "source.verified", "printable ASCII"),
    "a good word with blanks around it": (custom(verified=" OK"), "source.verified", "printable ASCII"),
    "underscores": (custom(certificate_header="X_My_Cert"), "source.certificate_header", "no header name"),
    "dots": (custom(certificate_header="X.My.Cert"), "source.certificate_header", "no header name"),
    "a colon": (custom(verify_header="X-My-Verify:"), "source.verify_header", "no header name"),
    "the host": (custom(certificate_header="Host"), "source.certificate_header", "a meaning of its own"),
    "a forwarding header": (custom(verify_header="X-Forwarded-For"), "source.verify_header", "a meaning of its own"),
    "a secret without a file": (header(shared_secret={"header": "X-S"}), "source.shared_secret.file", "is missing"),
    "a secret that is not there": (
        header(shared_secret={"header": "X-S", "file": "nowhere"}),
        "source.shared_secret.file",
        "cannot be read",
    ),
    "a secret under the certificate's name": (
        header(shared_secret={"header": "X-SSL-Client-Cert", "file": "secret"}),
        "source.shared_secret.header",
        "choose another name",
    ),
    "a secret in place": (header(shared_secret=SECRET), "source.shared_secret", "is not a table"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_cannot_be_obeyed_is_refused(tmp_path: Path, case: str) -> None:
    """With the place, what is wrong there, and a cure."""
    source, place, message = BROKEN[case]
    found = problems(tmp_path, source)
    assert any(place == each.place and message in str(each) for each in found), found
    assert all(each.hint for each in found), found
