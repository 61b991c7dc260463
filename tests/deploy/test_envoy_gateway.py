"""Envoy Gateway: what the manifests say, and a real Envoy with what the gateway makes of the policy.

There is no cluster here. The settings are those that Envoy Gateway 1.8 writes for such a ClientTrafficPolicy and such a
credential; what it does not write is Envoy's own default.
"""

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.forgeries import write_request
from deploy.fronts.envoy import run_envoy
from deploy.identities import BAD, VALID, World
from deploy.matrix import MALFORMED, OWN, expect, find_faults, find_outcome, run_cells, split_claims
from deploy.setting import HOST, Setting, adapt
from deploy.standing import Front
from deploy.wire import ask, ask_app
from keyfob import load_gate
from servers import environment, find_port, keyfob, make_client, running

FILE = "kubernetes/envoy-gateway/money.yaml"
SECRET = "0123456789abcdef" * 4
TYPES = "type.googleapis.com/envoy.extensions"

# Envoy Gateway's words, and Envoy's.
MODES = {
    "Sanitize": "SANITIZE",
    "ForwardOnly": "FORWARD_ONLY",
    "AppendForward": "APPEND_FORWARD",
    "SanitizeSet": "SANITIZE_SET",
    "AlwaysForwardOnly": "ALWAYS_FORWARD_ONLY",
}
UNDERSCORES = {"Allow": "ALLOW", "RejectRequest": "REJECT_REQUEST", "DropHeader": "DROP_HEADER"}
SLASHES = {
    "KeepUnchanged": "KEEP_UNCHANGED",
    "RejectRequest": "REJECT_REQUEST",
    "UnescapeAndForward": "UNESCAPE_AND_FORWARD",
    "UnescapeAndRedirect": "UNESCAPE_AND_REDIRECT",
}


def read_manifests() -> dict[str, Any]:
    """The documents of the file by their kind; each kind is there once."""
    documents = list(yaml.safe_load_all(adapt(FILE, {})))
    by_kind = {document["kind"]: document for document in documents}
    assert len(by_kind) == len(documents)
    return by_kind


MANIFESTS = read_manifests()
POLICY: dict[str, Any] = MANIFESTS["ClientTrafficPolicy"]["spec"]
INJECTION: dict[str, Any] = MANIFESTS["HTTPRouteFilter"]["spec"]["credentialInjection"]
RULES: str = MANIFESTS["ConfigMap"]["data"]["access.toml"]


def make_manager(policy: Mapping[str, Any]) -> dict[str, Any]:
    """The HTTP connection manager that the gateway makes of a policy, its defaults included."""
    headers = policy["headers"]
    early = headers.get("earlyRequestHeaders", {}).get("removeOnMatch", [])
    assert {match["type"] for match in early} <= {"RegularExpression"}
    mutations = [{"remove_on_match": {"key_matcher": {"safe_regex": {"regex": match["value"]}}}} for match in early]
    forwarded = headers["xForwardedClientCert"]
    return {
        "@type": f"{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "https",
        "use_remote_address": True,
        "normalize_path": True,
        "merge_slashes": not policy["path"]["disableMergeSlashes"],
        "path_with_escaped_slashes_action": SLASHES[policy["path"]["escapedSlashesAction"]],
        "common_http_protocol_options": {
            "headers_with_underscores_action": UNDERSCORES[headers["withUnderscoresAction"]]
        },
        "forward_client_cert_details": MODES[forwarded["mode"]],
        "set_current_client_cert_details": {detail.lower(): True for detail in forwarded["certDetailsToAdd"]},
        "early_header_mutation_extensions": [
            {
                "name": "envoy.http.early_header_mutation.header_mutation",
                "typed_config": {
                    "@type": f"{TYPES}.http.early_header_mutation.header_mutation.v3.HeaderMutation",
                    "mutations": mutations,
                },
            }
        ]
        if mutations
        else [],
    }


def make_tls(policy: Mapping[str, Any], setting: Setting) -> dict[str, Any]:
    """The TLS of the listener that the gateway makes of a policy."""
    validation = policy["tls"]["clientValidation"]
    assert validation["mode"] in {"VerifyIfGiven", "RequireAndVerify"}
    server = {
        "certificate_chain": {"filename": str(setting.server)},
        "private_key": {"filename": str(setting.server_key)},
    }
    return {
        "@type": f"{TYPES}.transport_sockets.tls.v3.DownstreamTlsContext",
        "require_client_certificate": validation["mode"] == "RequireAndVerify",
        "disable_stateless_session_resumption": "session" not in policy["tls"],
        "disable_stateful_session_resumption": "session" not in policy["tls"],
        "common_tls_context": {
            "tls_params": {"tls_minimum_protocol_version": "TLSv" + policy["tls"]["minVersion"].replace(".", "_")},
            "alpn_protocols": ["h2", "http/1.1"],
            "tls_certificates": [server],
            "validation_context": {"trusted_ca": {"filename": str(setting.ca)}},
        },
    }


def make_injector() -> dict[str, Any]:
    """The filter that says the secret to the app."""
    return {
        "name": "envoy.filters.http.credential_injector",
        "typed_config": {
            "@type": f"{TYPES}.filters.http.credential_injector.v3.CredentialInjector",
            "overwrite": INJECTION["overwrite"],
            "credential": {
                "name": "envoy.http.injected_credentials.generic",
                "typed_config": {
                    "@type": f"{TYPES}.http.injected_credentials.generic.v3.Generic",
                    "credential": {"name": "credential"},
                    "header": INJECTION["header"],
                },
            },
        },
    }


@contextlib.contextmanager
def start(setting: Setting, policy: Mapping[str, Any]) -> Iterator[None]:
    """Envoy with deploy/envoy/envoy.yaml, in which everything that the gateway decides is as the gateway decides it."""
    bootstrap = yaml.safe_load(adapt("envoy/envoy.yaml", {}))
    [listener] = bootstrap["static_resources"]["listeners"]
    listener["address"]["socket_address"] = {"address": "127.0.0.1", "port_value": setting.port}
    [chain] = listener["filter_chains"]
    chain["transport_socket"]["typed_config"] = make_tls(policy, setting)
    [manager] = chain["filters"]
    [router] = manager["typed_config"]["http_filters"]
    host, _ = manager["typed_config"]["route_config"]["virtual_hosts"]
    # Of the routes only the one to the app, without the headers that Envoy's own file sets there.
    manager["typed_config"] = {
        **make_manager(policy),
        "http_filters": [make_injector(), router],
        "route_config": {"name": "https", "virtual_hosts": [host]},
    }
    [cluster] = bootstrap["static_resources"]["clusters"]
    [endpoint] = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
    endpoint["endpoint"]["address"]["socket_address"]["port_value"] = setting.app_port
    secret = {"name": "credential", "generic_secret": {"secret": {"inline_string": SECRET}}}
    bootstrap["static_resources"]["secrets"] = [secret]
    with run_envoy(setting, json.dumps(bootstrap)):
        yield


def mount(folder: Path, world: World) -> Path:
    """The folder of the pod's projected volume, with the rules and what the page's commands make."""
    (folder / "access.toml").write_text(RULES, encoding="utf-8")
    (folder / "proxy-secret").write_text(SECRET, encoding="ascii")
    shutil.copy(world.ca, folder / "ca.crt")
    return folder / "access.toml"


@contextlib.contextmanager
def standing(world: World, folder: Path, policy: Mapping[str, Any] = POLICY) -> Iterator[Front]:
    """The app as the image starts it, and the gateway's Envoy before it."""
    front = Front("envoy", "envoy", find_port(), find_port(), world)
    rules = mount(folder, world)
    own = folder / "proxy"
    own.mkdir()
    setting = Setting(own, front.port, front.app_port, world.server, world.server_key, world.ca)
    command = keyfob("serve", "deploy.fronted_app:tell", "--config", rules, "--port", str(front.app_port))
    env = environment(FRONTED_CONFIG=str(rules))
    with running(command, front.app_port, folder, env), start(setting, policy):
        yield front


@pytest.fixture(scope="module")
def front(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """The gateway with the app behind it."""
    with standing(world, tmp_path_factory.mktemp("envoy-gateway")) as running:
        yield running


@pytest.mark.parametrize("certificate", [*VALID, *BAD])
def test_every_cell_comes_to_what_the_table_says(front: Front, certificate: str) -> None:
    """With this policy, the gateway is as good as Envoy with its own file."""
    identity = front.world.identities[certificate]
    cells = list(run_cells(front, identity))
    assert [fault for cell in cells for fault in find_faults(front, identity, cell)] == []
    found = {str(cell): find_outcome(identity, cell.answer) for cell in cells}
    assert found == {str(cell): expect(front.name, certificate, cell.request) for cell in cells}


def test_without_removing_anything_early_no_forgery_gets_in_either(world: World, tmp_path: Path) -> None:
    """As on a gateway before 1.7: SanitizeSet alone replaces the header, and keyfob refuses its aliases."""
    policy = deepcopy(POLICY)
    del policy["headers"]["earlyRequestHeaders"]
    forged = ["forged", "twice", "mixed-case", "removal-and-forged", "dot", "trailer"]
    with standing(world, tmp_path, policy) as front:
        for certificate in ("valid", "none"):
            identity = world.identities[certificate]
            for cell in run_cells(front, identity, forged):
                reached = cell.answer.told["fingerprint"] if cell.answer.reached_the_app else None
                assert reached in (None, identity.fingerprint), cell


def test_appending_would_let_a_client_put_elements_before_its_own(world: World, tmp_path: Path) -> None:
    """This is what the mode is for: with the other one, keyfob has to refuse what the gateway lets through."""
    policy = deepcopy(POLICY)
    policy["headers"]["xForwardedClientCert"]["mode"] = "AppendForward"
    del policy["headers"]["earlyRequestHeaders"]
    with standing(world, tmp_path, policy) as front:
        identity = world.identities["valid"]
        for cell in run_cells(front, identity, ["forged"]):
            assert find_outcome(identity, cell.answer) == MALFORMED


def test_who_goes_past_the_gateway_is_not_believed(front: Front) -> None:
    """Without the secret, or with a wrong one, the gateway's header counts for nothing."""
    own, _ = split_claims(front)
    for more in ([], [(INJECTION["header"], "x" * len(SECRET))]):
        answer = ask_app(front.app_port, write_request([*own, *more]), source="127.0.0.2")
        assert (answer.status, answer.refusal) == (403, "peer-not-trusted")


def test_a_client_cannot_say_the_secret_instead(front: Front) -> None:
    """What it sends under that name is overwritten, so it is neither believed nor in the way."""
    identity = front.world.identities["valid"]
    assert INJECTION["overwrite"] is True
    context = make_client(front.world.ca, *identity.files)
    answer = ask(context, front.port, write_request([(INJECTION["header"], "x" * len(SECRET))]))
    assert find_outcome(identity, answer) == OWN


def test_the_policy_says_what_envoys_own_file_says() -> None:
    """Two files with one meaning: whoever mends one of them has to look at the other."""
    bootstrap = yaml.safe_load(adapt("envoy/envoy.yaml", {}))
    [chain] = bootstrap["static_resources"]["listeners"][0]["filter_chains"]
    manager = chain["filters"][0]["typed_config"]
    made = make_manager(POLICY)
    same = set(made) - {"stat_prefix", "common_http_protocol_options"}
    assert {name: manager[name] for name in same} == {name: made[name] for name in same}
    assert made["forward_client_cert_details"] == "SANITIZE_SET"
    assert made["set_current_client_cert_details"] == {"cert": True}
    underscores = "headers_with_underscores_action"
    assert made["common_http_protocol_options"][underscores] == manager["common_http_protocol_options"][underscores]
    tls = chain["transport_socket"]["typed_config"]
    files = Path("/etc/keyfob")
    own = Setting(files, 443, 8000, files / "server.pem", files / "server-key.pem", files / "ca.pem")
    assert make_tls(POLICY, own) == tls


def test_the_rules_load_from_the_folder_that_the_pod_has(world: World, tmp_path: Path) -> None:
    """The projected volume puts three files beside each other, under the names that the rules have for them."""
    load_gate(mount(tmp_path, world))
    pod = MANIFESTS["Deployment"]["spec"]["template"]["spec"]
    [rules] = [volume for volume in pod["volumes"] if volume["name"] == "rules"]
    sources = rules["projected"]["sources"]
    assert sources == [
        {"configMap": {"name": MANIFESTS["ConfigMap"]["metadata"]["name"]}},
        {"configMap": {"name": "money-clients-ca"}},
        {"secret": {"name": "money-proxy-secret", "items": [{"key": "credential", "path": "proxy-secret"}]}},
    ]
    [container] = pod["containers"]
    assert {"name": "rules", "mountPath": "/etc/keyfob", "readOnly": True} in container["volumeMounts"]
    assert f'header = "{INJECTION["header"]}"' in RULES


def test_the_manifests_fit_together() -> None:
    """Every name that one manifest has of another is that other's name."""
    names = {kind: manifest["metadata"]["name"] for kind, manifest in MANIFESTS.items()}
    spaces = {kind: manifest["metadata"].get("namespace") for kind, manifest in MANIFESTS.items()}
    assert {kind for kind, space in spaces.items() if space is None} == {"GatewayClass"}
    assert set(spaces.values()) == {None, "money"}

    gateway = MANIFESTS["Gateway"]["spec"]
    assert gateway["gatewayClassName"] == names["GatewayClass"]
    [listener] = gateway["listeners"]
    assert (listener["hostname"], listener["protocol"], listener["port"]) == (HOST, "HTTPS", 443)
    [target] = POLICY["targetRefs"]
    assert (target["kind"], target["name"], target["sectionName"]) == ("Gateway", names["Gateway"], listener["name"])

    route = MANIFESTS["HTTPRoute"]["spec"]
    assert route["parentRefs"] == [{"name": names["Gateway"], "sectionName": listener["name"]}]
    assert route["hostnames"] == [HOST]
    [rule] = route["rules"]
    [extension] = rule["filters"]
    assert extension["extensionRef"]["kind"] == "HTTPRouteFilter"
    assert extension["extensionRef"]["name"] == names["HTTPRouteFilter"]
    [port] = MANIFESTS["Service"]["spec"]["ports"]
    assert rule["backendRefs"] == [{"name": names["Service"], "port": port["port"]}]

    pod = MANIFESTS["Deployment"]["spec"]["template"]
    labels = pod["metadata"]["labels"]
    assert MANIFESTS["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert MANIFESTS["Service"]["spec"]["selector"] == labels
    [container] = pod["spec"]["containers"]
    assert container["ports"] == [{"name": port["targetPort"], "containerPort": 8000}]
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
    assert volumes["data"]["persistentVolumeClaim"]["claimName"] == names["PersistentVolumeClaim"]


def test_what_is_not_in_the_file_is_made_by_the_page() -> None:
    """The Secrets and the CA that the manifests name have a command each, with the keys that are looked for."""
    page = adapt("kubernetes/envoy-gateway/README.md", {})
    [reference] = MANIFESTS["Gateway"]["spec"]["listeners"][0]["tls"]["certificateRefs"]
    assert f"create secret tls {reference['name']} " in page
    [authority] = POLICY["tls"]["clientValidation"]["caCertificateRefs"]
    assert f"create configmap {authority['name']} --from-file ca.crt=" in page
    assert authority["kind"] == "ConfigMap"
    assert f"create secret generic {INJECTION['credential']['valueRef']['name']} --from-literal credential=" in page
    assert {"Secret"}.isdisjoint(MANIFESTS)


def test_nobody_but_the_gateway_reaches_the_app() -> None:
    """One namespace and, in it, the pods of this very Gateway; and the app itself reaches nobody."""
    spec = MANIFESTS["NetworkPolicy"]["spec"]
    assert spec["podSelector"]["matchLabels"] == MANIFESTS["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert "egress" not in spec
    [rule] = spec["ingress"]
    [peer] = rule["from"]
    assert peer["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "envoy-gateway-system"}
    assert peer["podSelector"]["matchLabels"] == {
        "gateway.envoyproxy.io/owning-gateway-namespace": "money",
        "gateway.envoyproxy.io/owning-gateway-name": MANIFESTS["Gateway"]["metadata"]["name"],
    }
    assert rule["ports"] == [{"protocol": "TCP", "port": 8000}]


def test_the_app_can_do_little() -> None:
    """Not root, nothing to write to but two folders, no capability, no token of the cluster's."""
    pod = MANIFESTS["Deployment"]["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    [container] = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {mount["name"] for mount in container["volumeMounts"] if not mount.get("readOnly")} == {"data", "tmp"}
