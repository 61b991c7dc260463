"""explanation: the steps say what the gate did, and the decision is the gate's own."""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certificates import DAY, SERVER, Pair, make_authority, make_leaf
from exchanges import make_request, make_scope
from keyfob import ConfigError, Gate, KeyfobError, Trace, explain, load_gate
from keyfob.config.building import assemble_document
from keyfob.config.files import Files
from keyfob.config.reading import Raw
from keyfob.errors import Problem, Reason
from keyfob.explanation import Kind, Step, describe_request, explain_certificate, read_chain
from keyfob.gate import ClosedGate
from keyfob.inventory import RevocationReason, open_inventory
from keyfob.inventory.records import make_entry
from keyfob.policy import Allow, Decision, Deny
from keyfob.request import SOCKET_PEER, Request
from revocations import make_list

CA, OTHER = make_authority(), make_authority("Other CA")
INTERMEDIATE = make_authority("Intermediate", CA)
LAPSED = make_authority("Lapsed", CA, ends=-DAY)
PHONE, SECOND, BELOW = make_leaf(CA), make_leaf(CA, "Second"), make_leaf(INTERMEDIATE, "Below")
EXPIRED, EARLY = make_leaf(CA, begins=-9 * DAY, ends=-3 * DAY), make_leaf(CA, begins=3 * DAY)
STRANGER, WITHDRAWN = make_leaf(OTHER), make_leaf(CA, "Withdrawn")
ORPHAN, SERVERS = make_leaf(LAPSED, "Orphan"), make_leaf(CA, "Server", usages=[SERVER])
AT = PHONE.certificate.not_valid_before_utc.timestamp() + 86_400
HOST = "money.example.com"


def document(policies: Sequence[Any], **more: Any) -> dict[str, Any]:
    """One application at HOST, whose CA has a list that withdraws WITHDRAWN."""
    root = {"name": "CA", "certificate": "ca.pem", "associated_hostnames": [HOST, "*.example.org"], "crl": ["ca.crl"]}
    return {
        "source": {"kind": "tls"},
        "root_certificates": [root],
        "applications": [{"name": "Budget", "domain": HOST, "policies": list(policies)}],
    } | more


def policy(name: str = "Devices", decision: str = "non_identity", **sides: Any) -> dict[str, Any]:
    return {"name": name, "decision": decision, "include": [{"certificate": {}}]} | sides


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the documents name."""
    folder = tmp_path_factory.mktemp("explained")
    CA.write(folder, "ca")
    (folder / "ca.crl").write_bytes(make_list(CA, [WITHDRAWN]))
    return folder


def build(folder: Path, *policies: Any, **more: Any) -> Gate:
    raw = json.loads(json.dumps(document(policies or [policy()], **more)))
    return assemble_document("access.json", Raw(raw), folder, Files()).gate


def ask(*chain: Pair, at: float = AT, **more: Any) -> Request:
    return make_request(make_scope([each.pem for each in chain], **more), at)


def all_steps(steps: Sequence[Step]) -> Iterator[Step]:
    for step in steps:
        yield step
        yield from all_steps(step.parts)


def find(trace: Trace, kind: Kind) -> list[Step]:
    return [step for step in trace.steps if step.kind is kind]


def last(trace: Trace) -> Step:
    """The step that went wrong: the last before the application that is not a yes."""
    return [step for step in trace.steps if step.held is not True and step.kind not in (Kind.POLICY, Kind.DECISION)][-1]


# --- What is said -----------------------------------------------------------------------------------------------------


def test_an_admission_is_walked_from_the_host_to_the_policy(folder: Path) -> None:
    """Every station once, in the order of the path."""
    trace = explain(build(folder), ask(PHONE))
    assert [step.kind for step in trace.steps] == [*list(Kind)[:7], Kind.DECISION]
    assert all(step.held for step in all_steps(trace.steps))
    assert isinstance(trace.decision, Allow)
    assert not trace.decision.opens_session


WRONG: dict[str, tuple[list[Pair], Kind, bool | None, str]] = {
    "no certificate": ([], Kind.SOURCE, False, "no client certificate"),
    "expired": ([EXPIRED], Kind.CHAIN, False, "CN=Rhea Group ended at "),
    "not yet valid": ([EARLY], Kind.CHAIN, False, "CN=Rhea Group begins at "),
    "another CA": ([STRANGER], Kind.CHAIN, False, "issued by CN=Other CA"),
    "withdrawn": ([WITHDRAWN], Kind.REVOCATION, False, "is withdrawn by "),
    "below a CA without a list": ([BELOW, INTERMEDIATE], Kind.REVOCATION, None, "nobody can tell whether CN=Below"),
    "a server's": ([SERVERS], Kind.CHAIN, False, "without clientAuth"),
    "an intermediate that has ended": ([ORPHAN, LAPSED], Kind.CHAIN, False, "no path from CN=Orphan"),
}


@pytest.mark.parametrize(("chain", "kind", "held", "said"), WRONG.values(), ids=WRONG)
def test_a_certificate_that_is_not_good_says_why_at_its_station(
    folder: Path, chain: list[Pair], kind: Kind, held: bool | None, said: str
) -> None:
    """And the policies are asked without it."""
    trace = explain(build(folder), ask(*chain))
    step = last(trace)
    assert (step.kind, step.held) == (kind, held)
    assert said in step.said
    assert isinstance(trace.decision, Deny)
    assert [each.held for each in find(trace, Kind.POLICY)] == [False]


def test_what_cannot_be_read_says_so(folder: Path) -> None:
    """At the certificate's own station."""
    scope = make_scope(["-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
    step = last(explain(build(folder), make_request(scope, AT)))
    assert step.kind is Kind.CERTIFICATE
    assert step.said.startswith("unreadable certificate")


def test_where_a_chain_breaks_is_said(folder: Path) -> None:
    """Either nobody has the issuer, or its time is up: the verifier itself says no more than that there is no path."""
    [gap] = last(explain(build(folder), ask(BELOW))).parts
    assert (gap.held, gap.said) == (False, "CN=Intermediate was not sent along, and is in no file of roots")
    lapsed, root = last(explain(build(folder), ask(ORPHAN, LAPSED))).parts
    assert (lapsed.held, lapsed.said.startswith("CN=Lapsed, valid from ")) == (False, True)
    assert (root.held, root.said.startswith("CN=Test CA, ")) == (True, True)


def test_an_expired_certificate_has_its_cross_where_its_time_is(folder: Path) -> None:
    """Beside the day on which it ended."""
    [certificate] = find(explain(build(folder), ask(EXPIRED)), Kind.CERTIFICATE)
    wrong = [part.said for part in certificate.parts if not part.held]
    ended = EXPIRED.certificate.not_valid_after_utc
    assert len(wrong) == 1
    assert f"to {ended:%Y-%m-%d %H:%M} UTC" in wrong[0]


def test_a_list_says_until_when_it_holds(folder: Path) -> None:
    """A verdict that rests on it ends with it."""
    [step] = find(explain(build(folder), ask(PHONE)), Kind.REVOCATION)
    assert step.said.startswith("not withdrawn, as far as is known until ")


def test_an_inventory_says_what_it_has_withdrawn_and_what_it_will(folder: Path, tmp_path: Path) -> None:
    """A lost device, one that was renewed, and one of which nobody can tell any more."""
    CA.write(tmp_path, "ca")
    day = int(AT) + 86_400
    with open_inventory(tmp_path / "inventory.db", create=True) as inventory:
        for name, pair in (("phone", PHONE), ("second", SECOND)):
            inventory.add([make_entry(name, pair.certificate, CA.certificate, AT)])
        inventory.revoke([inventory.find("second")[0].record], RevocationReason.KEY_COMPROMISE, AT)
        inventory.renew(make_entry("phone", make_leaf(CA).certificate, CA.certificate, AT), day)
    written = document([policy()])
    written["root_certificates"][0] |= {"crl": [], "inventory": "inventory.db"}
    gate = assemble_document("access.json", Raw(written), tmp_path, Files()).gate
    phone, second = (explain(gate, ask(pair)) for pair in (PHONE, SECOND))
    [step] = find(phone, Kind.REVOCATION)
    assert step.held
    assert f"withdraws CN=Rhea Group at {datetime.fromtimestamp(day, UTC):%Y-%m-%d %H:%M:%S} UTC" in step.said
    [step] = find(second, Kind.REVOCATION)
    assert (step.held, step.said.endswith(f"is withdrawn by the inventory {tmp_path}/inventory.db")) == (False, True)
    [book] = gate.withdrawals.values()
    book.confirm(book.revision, book.mark, book.clock() - 31)
    [step] = find(explain(gate, ask(PHONE)), Kind.REVOCATION)
    assert (step.held, "nobody could look into the inventory" in step.said) == (None, True)
    assert step.hint


def test_groups_are_opened(folder: Path) -> None:
    """Each of their rules has a mark of its own, however deep."""
    inner = {"name": "Inner", "include": [{"method": {"method": "GET"}}, {"method": {"method": "POST"}}]}
    outer = {"name": "Outer", "include": [{"group": {"id": "Inner"}}]}
    gate = build(folder, policy(require=[{"group": {"id": "Outer"}}]), groups=[inner, outer])
    [step] = find(explain(gate, ask(PHONE)), Kind.POLICY)
    [group] = step.parts[1].parts
    assert [(part.said, part.held) for part in group.parts] == [
        ("include method: GET", True),
        ("include method: POST", False),
    ]


def test_an_exclude_that_does_not_apply_speaks_for_the_policy(folder: Path) -> None:
    """A tick is always good news for what stands above it."""
    excluding = policy(exclude=[{"common_name": {"common_name": "Second"}}])
    for pair, held in ((PHONE, True), (SECOND, False)):
        [step] = find(explain(build(folder, excluding), ask(pair)), Kind.POLICY)
        assert (step.held, step.parts[-1].held) == (held, held)


def test_what_nobody_can_tell_is_a_question_mark(folder: Path) -> None:
    """An address that is hidden lets nobody in, and nobody past a deny."""
    rule = {"ip": {"ip": "192.0.2.0/24"}}
    hidden = make_scope([PHONE.pem], client=None)
    gate = build(folder, policy(include=[rule]), policy("Block", "deny", include=[rule]))
    trace = explain(gate, make_request(hidden, AT))
    policies = find(trace, Kind.POLICY)
    assert [(step.held, step.parts[0].held) for step in policies] == [(False, None), (True, None)]
    assert "so it lets nobody in" in policies[0].said
    assert "which is enough to deny" in policies[1].said
    assert isinstance(trace.decision, Deny)
    assert trace.decision.reason is Reason.BLOCKED_BY_POLICY


def test_an_ambiguous_path_is_explained(folder: Path) -> None:
    """With what in it can be read in two ways; no policy is asked."""
    below = {"name": "Admin", "domain": f"{HOST}/admin", "policies": [policy()]}
    gate = build(folder, applications=[*document([policy()])["applications"], below])
    trace = explain(gate, ask(PHONE, path="/a//admin"))
    assert find(trace, Kind.APPLICATION)[0].said.startswith("the path '/a//admin' has two slashes in a row")
    assert not find(trace, Kind.POLICY)


def test_a_gate_that_was_never_built_has_nothing_to_explain() -> None:
    """It raises what it would raise for any request."""
    error = ConfigError("access.toml", [Problem("", "there is no such file")])
    with pytest.raises(ConfigError) as raised:
        explain(ClosedGate(error), ask(PHONE))
    assert raised.value is error


def test_explaining_leaves_no_trace_in_the_gate(folder: Path) -> None:
    """Whoever is explained has not been seen: the session begins with the first real request."""
    gate = build(folder)
    explain(gate, ask(PHONE))
    site = gate.find_site(HOST)
    assert site is not None
    assert site.known == {}
    decision = gate.check(ask(PHONE))
    assert isinstance(decision, Allow)
    assert decision.opens_session


# --- The verdict is the gate's ----------------------------------------------------------------------------------------

RULES: list[dict[str, Any]] = [
    {"everyone": {}},
    {"certificate": {}},
    {"common_name": {"common_name": "Rhea Group"}},
    {"common_name": {"common_name": {"starts_with": "S"}}},
    {"ip": {"ip": "192.0.2.0/24"}},
    {"method": {"method": "GET"}},
    {"issued_within": {"issued_within": "5d"}},
    {"group": {"id": "Inner"}},
    {"group": {"id": "Outer"}},
    {"header": {"name": "X-Part", "value": "left"}},
]
rules = st.lists(st.sampled_from(RULES), max_size=2)
some_rules = st.lists(st.sampled_from(RULES), min_size=1, max_size=3)
policies = st.lists(
    st.builds(
        policy,
        st.sampled_from(["One", "Two"]),
        st.sampled_from(["non_identity", "deny", "bypass", "service_auth"]),
        include=some_rules,
        require=rules,
        exclude=rules,
    ),
    min_size=1,
    max_size=3,
)
chains = st.sampled_from(
    [[], [PHONE], [SECOND], [BELOW, INTERMEDIATE], [BELOW], [EXPIRED], [EARLY], [STRANGER], [WITHDRAWN], [SERVERS]]
)
GROUPS = [
    {"name": "Inner", "include": [{"common_name": {"common_name": "Second"}}, {"ip": {"ip": "198.51.100.7"}}]},
    {"name": "Outer", "include": [{"certificate": {}}], "exclude": [{"group": {"id": "Inner"}}]},
]
DOMAINS = [HOST, f"{HOST}/admin/*", f"{HOST}/admin", "*.example.org/a*/b", "other.example.com"]
requests = st.fixed_dictionaries(
    {
        "host": st.sampled_from([HOST, f"{HOST}:8443", "x.example.org", "other.example.com", "nowhere.test", "", None]),
        "path": st.sampled_from(["/", "/admin", "/admin/", "/admin/x", "/ADMIN/x", "/a//b", "/ab/b", "/a;b", "/../"]),
        "method": st.sampled_from(["GET", "POST", "get"]),
        "client": st.sampled_from([("192.0.2.7", 1), ("198.51.100.7", 1), None]),
        "headers": st.sampled_from([[], [(b"x-part", b"left")], [(b"x-part", b"left")] * 2]),
    }
)


def summarise(decision: Decision) -> tuple[str | None, str, str]:
    return (None if isinstance(decision, Allow) else decision.reason), decision.application, decision.policy


def require_consistent(trace: Trace) -> None:
    """The steps, read on their own, tell the decision."""
    decision, steps = trace.decision, trace.steps
    matched = [step for step in find(trace, Kind.POLICY) if step.held]
    assert bool(matched) == bool(decision.policy)
    assert len(matched) <= 1
    if matched:
        assert steps[-2] is matched[0]
        assert matched[0].said.startswith(f"{decision.policy} (")
    assert steps[-1].kind is Kind.DECISION
    assert steps[-1].held is isinstance(decision, Allow)
    assert bool([step for step in find(trace, Kind.APPLICATION) if step.held]) >= bool(matched)
    assert [step.kind for step in steps] == sorted((step.kind for step in steps), key=list(Kind).index)
    assert (decision.identity.certificate is not None) == any(
        step.kind is Kind.REVOCATION and step.held is True for step in steps
    )
    require_sound(step for step in all_steps(steps) if step.kind is Kind.POLICY)


def require_sound(steps: Iterator[Step]) -> None:
    """A policy whose parts are all ticks matches; one that matches has a tick, or a question that nobody can answer."""
    for step in steps:
        held = [part.held for part in step.parts]
        if all(held):
            assert step.held
        if step.held:
            assert False not in [part.held for part in step.parts if not part.said.startswith("include")]


@settings(max_examples=150, deadline=None)
@given(
    groups=st.lists(policies, min_size=1, max_size=len(DOMAINS)),
    domains=st.permutations(DOMAINS),
    chain=chains,
    more=requests,
    kind=st.sampled_from(["http", "websocket"]),
)
def test_the_verdict_is_the_gates(
    folder: Path,
    groups: list[list[dict[str, Any]]],
    domains: list[str],
    chain: list[Pair],
    more: dict[str, Any],
    kind: str,
) -> None:
    """Whatever the rules, the certificate and the request are, and however often the gate has seen them."""
    roots = [
        {"name": "CA", "certificate": "ca.pem", "associated_hostnames": [HOST, "*.example.org", "other.example.com"]}
    ]
    applications = [
        {"name": f"App {number}", "domain": domain, "policies": some}
        for number, (domain, some) in enumerate(zip(domains, groups, strict=False))
    ]
    gate = build(folder, applications=applications, groups=GROUPS, root_certificates=roots)
    scope = make_scope([each.pem for each in chain], kind=kind, **more)
    request = gate.source.receive(scope, AT)
    trace = explain(gate, request)
    require_consistent(trace)
    for _ in range(2):
        assert summarise(trace.decision) == summarise(gate.check(request))
    assert summarise(explain(gate, request).decision) == summarise(trace.decision)


HEADER = {"kind": "header", "format": "rfc9440", "proxy_verifies": True, "trusted_proxies": ["10.0.0.1"]}
VALUES = [
    b":" + b"".join(PHONE.pem.encode().splitlines()[1:-1]) + b":",
    b":" + b"".join(STRANGER.pem.encode().splitlines()[1:-1]) + b":",
    b":AAAA:",
    b"nonsense",
    b"",
]


@settings(max_examples=80, deadline=None)
@given(
    some=policies,
    values=st.lists(st.sampled_from(VALUES), max_size=2),
    name=st.sampled_from([b"client-cert", b"client_cert"]),
    peer=st.sampled_from(["10.0.0.1", "203.0.113.9"]),
    recorded=st.booleans(),
    forwarded=st.sampled_from([b"192.0.2.7", b"10.0.0.1", b"nonsense"]),
)
def test_the_verdict_is_the_gates_behind_a_proxy(
    folder: Path,
    some: list[dict[str, Any]],
    values: list[bytes],
    name: bytes,
    peer: str,
    recorded: bool,
    forwarded: bytes,
) -> None:
    """Forged, twice, under an alias, from a stranger: where the gate asks no policy, there is no step of one."""
    gate = build(folder, *some, groups=GROUPS, source=HEADER)
    headers = [(b"x-forwarded-for", forwarded), *((name, value) for value in values)]
    scope = make_scope(None, headers=headers, client=(peer, 1))
    scope["extensions"] = {SOCKET_PEER: {"client": (peer, 1)}} if recorded else {}
    for _ in range(2):
        request = gate.source.receive(scope, AT)
        trace = explain(gate, request)
        require_consistent(trace)
        assert summarise(trace.decision) == summarise(gate.check(request))


# --- A certificate in the hand ----------------------------------------------------------------------------------------


def test_a_certificate_in_the_hand_is_judged_as_if_it_had_arrived(folder: Path) -> None:
    """However certificates arrive there, and whoever would be believed."""
    scope = describe_request(f"https://{HOST}/", "GET")
    for source in ({"kind": "tls"}, HEADER):
        gate = build(folder, source=source)
        for chain, admitted in (((PHONE.pem,), True), ((STRANGER.pem,), False), ((), False)):
            decision = explain_certificate(gate, chain, scope, AT).decision
            assert isinstance(decision, Allow) is admitted


def test_the_clients_address_is_as_given(folder: Path) -> None:
    """And left open where it is not."""
    gate = build(folder, policy(require=[{"ip": {"ip": "192.0.2.0/24"}}]))
    scope = describe_request(f"https://{HOST}/")
    answers = []
    for address in (ip_address("192.0.2.7"), ip_address("198.51.100.1"), None):
        [step] = find(explain_certificate(gate, (PHONE.pem,), scope, AT, address), Kind.POLICY)
        answers.append(step.parts[1].held)
    assert answers == [True, False, None]


def test_a_header_that_only_the_proxy_writes_is_not_passed_over(folder: Path) -> None:
    """Rules never see it, so neither does an explanation."""
    scope = describe_request(f"https://{HOST}/", "GET", [("Client-Cert", ":AAAA:")])
    with pytest.raises(KeyfobError, match="client-cert is a header that certificates arrive in"):
        explain_certificate(build(folder, source=HEADER), (PHONE.pem,), scope, AT)


URLS: dict[str, tuple[str, str, bytes, str]] = {
    "https://money.example.com/admin": ("http", "money.example.com", b"/admin", "/admin"),
    "https://money.example.com": ("http", "money.example.com", b"/", "/"),
    "HTTPS://Money.Example.COM.:8443/": ("http", "money.example.com", b"/", "/"),
    "http://user:word@money.example.com/": ("http", "money.example.com", b"/", "/"),
    "wss://money.example.com/talk": ("websocket", "money.example.com", b"/talk", "/talk"),
    "ws://192.0.2.7/": ("websocket", "192.0.2.7", b"/", "/"),
    "https://[2001:DB8::1]:8443/x": ("http", "2001:db8::1", b"/x", "/x"),
    "https://xn--mnchen-3ya.example/": ("http", "xn--mnchen-3ya.example", b"/", "/"),
    "https://money.example.com/a%2Fb": ("http", "money.example.com", b"/a%2Fb", "/a/b"),
    "https://money.example.com/%61": ("http", "money.example.com", b"/%61", "/a"),
    "https://money.example.com/a%zz": ("http", "money.example.com", b"/a%zz", "/a%zz"),
    "https://money.example.com/%ff": ("http", "money.example.com", b"/%ff", "/\ufffd"),
    "https://money.example.com/café x": ("http", "money.example.com", b"/caf%C3%A9%20x", "/café x"),
    "https://money.example.com/a/../b//c;d?x=/y#z": ("http", "money.example.com", b"/a/../b//c;d", "/a/../b//c;d"),
    "https://money.example.com/a\\b": ("http", "money.example.com", b"/a\\b", "/a\\b"),
}


@pytest.mark.parametrize("url", URLS)
def test_a_url_becomes_what_a_server_makes_of_it(url: str) -> None:
    """The path decoded once, and what was sent beside it."""
    scope = describe_request(url)
    host = make_request(scope).host
    assert (scope["type"], host, scope["raw_path"], scope["path"]) == URLS[url]


NO_URLS = [
    "money.example.com/admin",
    "ftp://money.example.com/",
    "https:///admin",
    "https://money.example.com:port/",
    "https://money.example.com:99999/",
    "https://a,b/",
    "https://[::1/",
    "https://münchen.example/",
    "https://money.example.com/\x00",
    "https://money.example.com/\udc80",
    "https://money.example.com/a\nHost: x",
    f"https://{'a' * 300}/",
    "",
]


@pytest.mark.parametrize("url", NO_URLS)
def test_what_nobody_could_ask_for_is_refused_with_a_word(url: str) -> None:
    """Never guessed at."""
    with pytest.raises(KeyfobError) as raised:
        describe_request(url)
    assert raised.value.hint


@given(st.text())
def test_no_url_breaks_anything(text: str) -> None:
    """It is a request or a refusal."""
    for url in (text, f"https://money.example.com/{text}", f"https://{text}/"):
        try:
            scope = describe_request(url)
        except KeyfobError:
            continue
        assert scope["path"]
        assert scope["raw_path"].isascii()


@pytest.mark.parametrize(
    ("url", "method", "header"),
    [
        ("https://a.example/", "CONNECT", None),
        ("https://a.example/", "GE T", None),
        ("wss://a.example/", "POST", None),
        ("https://a.example/", "GET", ("X Part", "left")),
        ("https://a.example/", "GET", ("X-Part", "a\r\nb")),
    ],
)
def test_what_is_no_request_is_refused(url: str, method: str, header: tuple[str, str] | None) -> None:
    """As no server would pass it on."""
    with pytest.raises(KeyfobError):
        describe_request(url, method, [header] if header else [])


def test_a_chain_is_read_in_its_order(tmp_path: Path) -> None:
    """Whatever stands around the certificates."""
    file = tmp_path / "device.pem"
    file.write_text(f"Bag Attributes\n{PHONE.key_pem}{BELOW.pem}some text\n{INTERMEDIATE.pem}")
    assert [each.strip() for each in read_chain(file)] == [BELOW.pem.strip(), INTERMEDIATE.pem.strip()]


@pytest.mark.parametrize(("name", "word"), [("device.pem", "x509 -inform der"), ("device.p12", "pkcs12 -clcerts")])
def test_a_file_without_pem_says_how_to_make_some(tmp_path: Path, name: str, word: str) -> None:
    """Of what its name says it is."""
    file = tmp_path / name
    file.write_bytes(b"\x30\x82")
    with pytest.raises(KeyfobError, match="no certificate in PEM") as raised:
        read_chain(file)
    assert word in raised.value.hint


def test_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    """With its name; so does one whose name no file can have."""
    for name in ("gone.pem", "a\0b"):
        with pytest.raises(KeyfobError, match="cannot be read"):
            read_chain(tmp_path / name)


def test_a_whole_file_can_be_explained(folder: Path, tmp_path: Path) -> None:
    """From a configuration to a trace, as the README shows it."""
    file = tmp_path / "access.json"
    CA.write(tmp_path, "ca")
    (tmp_path / "ca.crl").write_bytes(make_list(CA, ends=timedelta(days=1)))
    file.write_text(json.dumps(document([policy()])))
    gate = load_gate(file)
    trace = explain(gate, gate.source.receive(make_scope([PHONE.pem]), AT))
    assert trace.steps[-1].said == "let in by Devices of Budget"
