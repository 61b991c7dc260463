"""config.building: what an access.toml may say, and what is said about one that cannot be obeyed."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certificates import make_authority, make_leaf
from exchanges import make_scope
from keyfob.config import load_gate
from keyfob.config.building import assemble_document
from keyfob.config.files import Files
from keyfob.config.reading import Raw
from keyfob.errors import ConfigError, Problem
from keyfob.policy import Allow, Deny

ROOT, OTHER = make_authority("Root"), make_authority("Other")
LEAF, SECOND = make_leaf(ROOT), make_leaf(ROOT, "Second device")
# Within the day that every certificate made in this run has begun before, and ends after.
NOW = LEAF.certificate.not_valid_before_utc.timestamp() + 43_200


def document(**changes: Any) -> dict[str, Any]:
    """The plan's own example, with top-level tables replaced."""
    return {
        "source": {"kind": "tls"},
        "root_certificates": [
            {"name": "Money App Test", "certificate": "ca.pem", "associated_hostnames": ["money.example.com"]}
        ],
        "applications": [application()],
    } | changes


def application(**changes: Any) -> dict[str, Any]:
    return {"name": "Budget", "domain": "money.example.com", "policies": [policy()]} | changes


def policy(**changes: Any) -> dict[str, Any]:
    return {
        "name": "My iPhone",
        "decision": "non_identity",
        "include": [{"certificate": {}}],
        "require": [{"common_name": {"common_name": "Rhea Group"}}],
    } | changes


def load(tmp_path: Path, content: object) -> Any:
    """The gate of a configuration, given as JSON."""
    (tmp_path / "ca.pem").write_text(ROOT.pem)
    (tmp_path / "other.pem").write_text(OTHER.pem)
    path = tmp_path / "access.json"
    path.write_text(json.dumps(content))
    return load_gate(path)


def problems(tmp_path: Path, content: object) -> list[Problem]:
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, content)
    return list(raised.value.problems)


def check(gate: Any, *chain: str, host: str = "money.example.com") -> object:
    return gate.check(gate.source.receive(make_scope(chain, host=host), NOW))


def test_the_plans_example_works(tmp_path: Path) -> None:
    """As TOML, word for word."""
    (tmp_path / "ca.pem").write_text(ROOT.pem)
    path = tmp_path / "access.toml"
    path.write_text(
        """
        [source]
        kind = "tls"

        [[root_certificates]]
        name = "Money App Test"
        certificate = "ca.pem"
        associated_hostnames = ["money.example.com"]

        [[applications]]
        name = "Budget"
        domain = "money.example.com"

        [[applications.policies]]
        name = "My iPhone"
        decision = "non_identity"
        include = [{ certificate = {} }]
        require = [{ common_name = { common_name = "Rhea Group" } }]
        """
    )
    gate = load_gate(path)
    assert isinstance(check(gate, LEAF.pem), Allow)
    assert isinstance(check(gate, SECOND.pem), Deny)
    assert isinstance(check(gate), Deny)
    assert isinstance(check(gate, LEAF.pem, host="other.example.com"), Deny)


def test_json_says_the_same(tmp_path: Path) -> None:
    """One model, two spellings."""
    assert isinstance(check(load(tmp_path, document()), LEAF.pem), Allow)


def test_service_auth_is_the_same_word(tmp_path: Path) -> None:
    """The console's name for non_identity."""
    gate = load(tmp_path, document(applications=[application(policies=[policy(decision="service_auth")])]))
    assert isinstance(check(gate, LEAF.pem), Allow)


def test_roots_belong_to_their_hosts(tmp_path: Path) -> None:
    """Two applications with two authorities: neither's devices reach the other."""
    roots = [
        {"name": "a", "certificate": "ca.pem", "associated_hostnames": ["a.example"]},
        {"name": "b", "certificate": "other.pem", "associated_hostnames": ["b.example"]},
    ]
    either = policy(require=[])
    applications = [application(name=host, domain=host, policies=[either]) for host in ("a.example", "b.example")]
    gate = load(tmp_path, document(root_certificates=roots, applications=applications))
    theirs = make_leaf(OTHER)
    assert isinstance(check(gate, LEAF.pem, host="a.example"), Allow)
    assert isinstance(check(gate, theirs.pem, host="b.example"), Allow)
    assert isinstance(check(gate, LEAF.pem, host="b.example"), Deny)
    assert isinstance(check(gate, theirs.pem, host="a.example"), Deny)
    assert len(gate.roots.anchors) == 2


def test_several_hosts_and_several_roots(tmp_path: Path) -> None:
    """One application under several names, in any spelling of a name; several roots for one host."""
    hosts = ["money.example.com", "MONEY.local.", "127.0.0.1", "::1", "[2001:DB8::1]"]
    roots = [
        {"name": "a", "certificate": "ca.pem", "associated_hostnames": hosts},
        {"name": "b", "certificate": "other.pem", "associated_hostnames": hosts},
    ]
    gate = load(tmp_path, document(root_certificates=roots, applications=[application(self_hosted_domains=hosts)]))
    for host in ("money.example.com", "money.local", "127.0.0.1:8443", "[::1]:8443", "[2001:db8::1]"):
        assert isinstance(check(gate, LEAF.pem, host=host), Allow), host
        assert isinstance(check(gate, make_leaf(OTHER).pem, host=host), Allow), host


def test_deny_and_exclude(tmp_path: Path) -> None:
    """A rule can keep one device out of what a CA's devices may do."""
    excluded = policy(require=[], exclude=[{"common_name": {"common_name": "Second device"}}])
    gate = load(tmp_path, document(applications=[application(policies=[excluded])]))
    assert isinstance(check(gate, LEAF.pem), Allow)
    assert isinstance(check(gate, SECOND.pem), Deny)


def test_an_application_open_to_all_needs_no_root(tmp_path: Path) -> None:
    """Without a rule that asks for a certificate there is nothing to verify one against."""
    open_to_all = policy(decision="bypass", include=[{"everyone": {}}], require=[])
    gate = load(tmp_path, document(root_certificates=[], applications=[application(policies=[open_to_all])]))
    assert isinstance(check(gate), Allow)


def find_link(gate: Any, at: float) -> str | None:
    decision = gate.check(gate.source.receive(make_scope([LEAF.pem]), at))
    assert isinstance(decision, Allow)
    assert decision.identity.certificate is not None
    return decision.identity.certificate.renewal


@pytest.mark.parametrize(
    "link", ["/.keyfob/renew", "/", "/a?b=c&d=%20#e", "https://keys.example.com", "https://[::1]:8444/renew?x=@"]
)
def test_a_certificate_that_ends_soon_comes_with_a_link_to_its_successor(tmp_path: Path, link: str) -> None:
    """Thirty days before its end, unless another number is written; where none is configured, never."""
    day, end = 86_400, LEAF.certificate.not_valid_after_utc.timestamp()
    for days, renewal in ((30, {"link": link}), (2, {"link": link, "days": 2})):
        gate = load(tmp_path, document(renewal=renewal))
        assert [find_link(gate, end - days * day - 1), find_link(gate, end - days * day + 1)] == [None, link]
    assert find_link(load(tmp_path, document()), end - 1) is None


@pytest.mark.parametrize(
    "link",
    [
        "",
        "renew",
        "//elsewhere.example.com",
        "/\\elsewhere.example.com",
        "http://keys.example.com/",
        "https://",
        "https://keys.example.com@elsewhere.example.com/",
        "https://keys.example.com\\@elsewhere.example.com/",
        "javascript:alert(1)",
        "/renew\n",
        "/re new",
        '/"><script>',
        "/\u202e",
        7,
        None,
    ],
)
def test_a_link_that_could_lead_astray_is_refused(tmp_path: Path, link: object) -> None:
    """It is shown to whoever holds a key, to be followed without a thought."""
    [problem] = problems(tmp_path, document(renewal={"link": link}))
    assert problem.place == "renewal.link"
    assert problem.hint


@pytest.mark.parametrize("renewal", [{}, {"days": 30}, {"link": "/", "days": 0}, {"link": "/", "days": "30"}])
def test_half_a_renewal_is_refused(tmp_path: Path, renewal: dict[str, Any]) -> None:
    """Nothing is guessed."""
    [problem] = problems(tmp_path, document(renewal=renewal))
    assert problem.place.startswith("renewal.")


BROKEN: dict[str, tuple[Any, str, str]] = {
    "no source": ({k: v for k, v in document().items() if k != "source"}, "source", "is missing"),
    "unknown kind": (document(source={"kind": "headers"}), "source.kind", "not one of its values"),
    "unknown top-level key": (document(applicatons=[]), "applicatons", "is no key"),
    "no applications": (document(applications=[]), "applications", "write [[applications]]"),
    "no policies": (
        document(applications=[application(policies=[])]),
        "applications[0].policies",
        "write [[applications.policies]]",
    ),
    "no include": (
        document(applications=[application(policies=[policy(include=[])])]),
        "applications[0].policies[0].include",
        "is empty",
    ),
    "allow": (
        document(applications=[application(policies=[policy(decision="allow")])]),
        "applications[0].policies[0].decision",
        "asks for a login",
    ),
    "misspelled decision": (
        document(applications=[application(policies=[policy(decision="denny")])]),
        "applications[0].policies[0].decision",
        "did you mean 'deny'?",
    ),
    "misspelled selector": (
        document(applications=[application(policies=[policy(include=[{"comon_name": {"common_name": "x"}}])])]),
        "applications[0].policies[0].include[0]",
        "did you mean 'common_name'?",
    ),
    "two selectors in one rule": (
        document(applications=[application(policies=[policy(include=[{"everyone": {}, "certificate": {}}])])]),
        "applications[0].policies[0].include[0]",
        "exactly one selector",
    ),
    "no selector in a rule": (
        document(applications=[application(policies=[policy(include=[{}])])]),
        "applications[0].policies[0].include[0]",
        "exactly one selector",
    ),
    "a rule that is a word": (
        document(applications=[application(policies=[policy(include=["everyone"])])]),
        "applications[0].policies[0].include[0]",
        "exactly one selector",
    ),
    "number for a name": (
        document(applications=[application(policies=[policy(include=[{"common_name": {"common_name": 5}}])])]),
        "applications[0].policies[0].include[0]",
        "is not a text",
    ),
    "two dots in the path": (document(applications=[application(domain="money.example.com/../x")]), "domain", "dots"),
    "nothing but a wildcard": (document(applications=[application(domain="*")]), "domain", "does not say where"),
    "port in the domain": (document(applications=[application(domain="money.example.com:8443")]), "domain", "port"),
    "scheme in the domain": (
        document(applications=[application(domain="https://money.example.com")]),
        "domain",
        "a scheme",
    ),
    "empty domain": (document(applications=[application(domain="")]), "domain", "no host is named"),
    "address with a port": (document(applications=[application(domain="[::1]:8443")]), "domain", "names a port"),
    "host of two applications": (
        document(applications=[application(), application(name="Other")]),
        "applications[1].domain",
        "the other one belongs to the application 'Budget'",
    ),
    "no root for the host": (
        document(root_certificates=[]),
        "applications[0].domain",
        "no root certificate is associated with money.example.com",
    ),
    "missing file": (
        document(
            root_certificates=[
                {"name": "x", "certificate": "gone.pem", "associated_hostnames": ["money.example.com"]},
            ]
        ),
        "root_certificates[0].certificate",
        "gone.pem cannot be read",
    ),
    "file that is no certificate": (
        document(
            root_certificates=[
                {"name": "x", "certificate": "access.json", "associated_hostnames": ["money.example.com"]},
            ]
        ),
        "root_certificates[0].certificate",
        "not a PEM file",
    ),
    "a file's name with a NUL": (
        document(
            root_certificates=[
                {"name": "x", "certificate": "ca\0.pem", "associated_hostnames": ["money.example.com"]},
            ]
        ),
        "root_certificates[0].certificate",
        "cannot be read",
    ),
    "a typo inside a rule": (
        document(applications=[application(policies=[policy(require=[{"common_name": {"comon_name": "Rhea"}}])])]),
        "applications[0].policies[0].require[0]",
        "did you mean 'common_name'?",
    ),
    "a word inside a rule that takes none": (
        document(applications=[application(policies=[policy(include=[{"certificate": {"x": 1}}])])]),
        "applications[0].policies[0].include[0]",
        "known: none",
    ),
    "no hosts for a root": (
        document(root_certificates=[{"name": "x", "certificate": "ca.pem", "associated_hostnames": []}]),
        "root_certificates[0].associated_hostnames",
        "is empty",
    ),
    "an exclude that could never hold": (
        document(
            root_certificates=[],
            applications=[
                application(
                    policies=[
                        policy(include=[{"everyone": {}}], require=[], exclude=[{"common_name": {"common_name": "x"}}])
                    ]
                )
            ],
        ),
        "applications[0].domain",
        "no root certificate is associated",
    ),
    "half a bracket": (document(applications=[application(domain="[::1")]), "domain", "is not a host"),
    "two dots": (document(applications=[application(domain="money..example.com")]), "domain", "is not a host"),
    "one bracket too few": (
        document(applications={"name": "Budget"}),
        "applications",
        "write [[applications]], with two brackets",
    ),
    "a name where a selector's table belongs": (
        document(applications=[application(policies=[policy(require=[{"common_name": "My iPhone"}])])]),
        "applications[0].policies[0].require[0]",
        'write { common_name = { common_name = "Rhea Group" } }',
    ),
    "true where a selector's table belongs": (
        document(applications=[application(policies=[policy(include=[{"certificate": True}])])]),
        "applications[0].policies[0].include[0]",
        "{ certificate = {} }",
    ),
    "an empty document": ({}, "source", 'write [source] with kind = "tls" in it'),
    "not a table": ([], "", "is not a table"),
    "a list for a text": (
        document(applications=[application(name=["Budget"])]),
        "applications[0].name",
        "is not a text",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_cannot_be_obeyed_is_refused(tmp_path: Path, case: str) -> None:
    """With the place and what is wrong there; nothing is guessed, nothing ignored."""
    content, place, message = BROKEN[case]
    found = problems(tmp_path, content)
    assert any(place in each.place and message in str(each) for each in found), found


def test_an_unknown_key_gets_a_suggestion_at_any_depth(tmp_path: Path) -> None:
    """From the keys that its own table knows."""
    misspelled = policy(requires=[])
    [problem] = problems(tmp_path, document(applications=[application(policies=[misspelled])]))
    assert problem.place == "applications[0].policies[0].requires"
    assert problem.hint == "did you mean 'require'?"
    [other] = problems(tmp_path, document(root_certificates=[{**document()["root_certificates"][0], "zzz": 1}]))
    assert other.hint == (
        "known: name, certificate, associated_hostnames, crl, crl_expired, ocsp, ocsp_unavailable, revoked, inventory, "
        "inventory_unavailable"
    )


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    """One start, one list."""
    broken = application(domain="", policies=[policy(decision="x"), policy(include=[{"y": {}}])])
    assert len(problems(tmp_path, document(source={}, applications=[broken]))) == 4


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("access.toml", b"[source\n", "is not TOML"),
        ("access.json", b"{", "is not JSON"),
        ("access.toml", b"\xff\xfe", "cannot be read"),
        ("access.json", b"[" * 200_000, "nested"),
        ("access.json", b'{"source": {"kind": "tls"}, "source": {"kind": "tls"}}', "'source' stands twice"),
        ("access.toml", b"source = 1\nsource = 2\n", "is not TOML"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_problem(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    """Named with its path."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as raised:
        load_gate(path)
    assert raised.value.source == str(path)


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    """Some editors write one, and nobody sees it."""
    (tmp_path / "ca.pem").write_text(ROOT.pem)
    (tmp_path / "access.json").write_text("\ufeff" + json.dumps(document()), encoding="utf-8")
    assert isinstance(check(load_gate(tmp_path / "access.json"), LEAF.pem), Allow)


def test_every_problem_has_a_hint(tmp_path: Path) -> None:
    """Of all the broken documents above."""
    found = [problem for content, _, _ in BROKEN.values() for problem in problems(tmp_path, content)]
    assert [problem for problem in found if not problem.hint] == []


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    """Also a folder in its place."""
    with pytest.raises(ConfigError, match="no such file"):
        load_gate(tmp_path / "access.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_gate(tmp_path)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["source", "kind", "tls", "applications", "policies", "include", "name", "domain", "x"])
            | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(ANYTHING)
def test_no_document_at_all_opens_a_door_or_breaks_the_loader(content: object) -> None:
    """Whatever it holds, it is refused with problems in words."""
    with pytest.raises(ConfigError) as raised:
        assemble_document("access.json", Raw(content), Path("/nonexistent"), Files())
    assert all(problem.message for problem in raised.value.problems)
