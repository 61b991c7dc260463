"""ingress-nginx: what the manifests say, and a real nginx with what the controller makes of the annotations.

There is no cluster here. The directives are those that ingress-nginx 1.15 writes for such an Ingress.
"""

import contextlib
import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.fronts.nginx import find_wheel, run_nginx
from deploy.identities import BAD, VALID, World
from deploy.matrix import expect, find_faults, find_outcome, run_cells
from deploy.setting import HOST, Setting, adapt
from deploy.standing import Front, run_commands, standing
from keyfob import ConfigError, load_gate
from keyfob.sources.headers import HeaderSource
from servers import ROOT

FILE = "kubernetes/ingress-nginx/money.yaml"
PREFIX = "nginx.ingress.kubernetes.io/"
CA = "/etc/keyfob/clients/ca.crt"

# Directives on the level of `http`, then those of one server. The controller's defaults, where nothing asks for others.
_SITE = """\
underscores_in_headers off;
ignore_invalid_headers on;
ssl_protocols TLSv1.2 TLSv1.3;
ssl_early_data off;
ssl_session_cache shared:SSL:10m;
ssl_session_timeout 10m;
ssl_session_tickets off;
ssl_certificate {setting.server};
ssl_certificate_key {setting.server_key};
map $http_upgrade $connection_upgrade {{
    default upgrade;
    '' '';
}}
map $http_x_request_id $req_id {{
    default $http_x_request_id;
    "" $request_id;
}}
upstream upstream_balancer {{
    server 127.0.0.1:{setting.app_port};
    keepalive 320;
}}
server {{
    listen 127.0.0.1:{setting.port} default_server ssl;
    server_name _;
    ssl_reject_handshake off;
    return 404;
}}
server {{
    listen 127.0.0.1:{setting.port} ssl;
    server_name {host};
    ssl_client_certificate {setting.ca};
    ssl_verify_client {verify};
    ssl_verify_depth {depth};
    location / {{
        proxy_set_header Host $host;
        {passing}
        proxy_set_header ssl-client-verify $ssl_client_verify;
        proxy_set_header ssl-client-subject-dn $ssl_client_s_dn;
        proxy_set_header ssl-client-issuer-dn $ssl_client_i_dn;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $connection_upgrade;
        proxy_set_header X-Request-ID $req_id;
        proxy_set_header X-Real-IP $remote_addr;
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header X-Forwarded-Host $host;
        proxy_set_header X-Forwarded-Port $server_port;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_set_header X-Forwarded-Scheme $scheme;
        proxy_set_header X-Scheme $scheme;
        proxy_set_header X-Original-Forwarded-For $http_x_forwarded_for;
        proxy_set_header X-Original-Forwarded-Host $http_x_forwarded_host;
        proxy_set_header Proxy "";
        proxy_http_version 1.1;
        proxy_pass http://upstream_balancer;
    }}
}}
"""
_PASSING = "proxy_set_header ssl-client-cert $ssl_client_escaped_cert;"


def read_manifests() -> dict[str, Any]:
    """The documents of the file by their kind; each kind is there once."""
    documents = list(yaml.safe_load_all(adapt(FILE, {})))
    by_kind = {document["kind"]: document for document in documents}
    assert len(by_kind) == len(documents)
    return by_kind


MANIFESTS = read_manifests()
ANNOTATIONS: dict[str, str] = {
    name.removeprefix(PREFIX): value for name, value in MANIFESTS["Ingress"]["metadata"]["annotations"].items()
}


@contextlib.contextmanager
def start(setting: Setting, annotations: Mapping[str, str]) -> Iterator[None]:
    """nginx with what the controller makes of `annotations`, and its own defaults for those that are absent."""
    site = _SITE.format(
        setting=setting,
        host=HOST,
        verify=annotations.get("auth-tls-verify-client", "on"),
        depth=annotations.get("auth-tls-verify-depth", "1"),
        passing=_PASSING if annotations.get("auth-tls-pass-certificate-to-upstream") == "true" else "",
    )
    with run_nginx(find_wheel(), setting, site):
        yield


@pytest.fixture(scope="module")
def front(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """The controller's nginx with the app behind it."""
    name = "ingress-nginx"
    begin = partial(start, annotations=ANNOTATIONS)
    with standing(name, name, begin, world, tmp_path_factory.mktemp(name)) as running:
        yield running


@pytest.mark.parametrize("certificate", [*VALID, *BAD])
def test_every_cell_comes_to_what_the_table_says(front: Front, certificate: str) -> None:
    """With these annotations, ingress-nginx's headers are as good as nginx's own."""
    identity = front.world.identities[certificate]
    cells = run_cells(front, identity)
    assert [fault for cell in cells for fault in find_faults(front, identity, cell)] == []
    found = {str(cell): find_outcome(identity, cell.answer) for cell in cells}
    assert found == {str(cell): expect(front.name, certificate, cell.request) for cell in cells}


def test_the_two_commands_of_the_page_answer_as_it_says(front: Front) -> None:
    """Who follows the page sees the app with a certificate, and without one what is missing."""
    first, second = run_commands(front, ROOT / "deploy" / "kubernetes" / "ingress-nginx" / "README.md")
    assert first["fingerprint"] == front.world.identities["valid"].fingerprint
    assert second["type"] == "urn:keyfob:certificate-missing"


def test_without_the_certificates_annotation_a_device_could_be_another(world: World, tmp_path: Path) -> None:
    """This is what the annotation is for, and what a forgery looks like in the matrix: it is not blind."""
    fewer = {name: value for name, value in ANNOTATIONS.items() if "pass-certificate" not in name}
    with standing("ingress-nginx", "ingress-nginx", partial(start, annotations=fewer), world, tmp_path) as front:
        identity = world.identities["valid"]
        cells = run_cells(front, identity, ["forged", "mixed-case"])
        faults = [fault for cell in cells for fault in find_faults(front, identity, cell)]
        assert len(faults) == len(cells)
        assert all("FORGED" in fault for fault in faults)


def test_the_ingress_asks_everybody_and_hands_over_what_it_got() -> None:
    """The four annotations that the certificate's way depends on, and the one that keeps plain HTTP out."""
    assert ANNOTATIONS == {
        "auth-tls-secret": "money/money-clients-ca",
        "auth-tls-verify-client": "optional",
        "auth-tls-verify-depth": "3",
        "auth-tls-pass-certificate-to-upstream": "true",
        "force-ssl-redirect": "true",
    }
    (rule,) = MANIFESTS["Ingress"]["spec"]["rules"]
    assert rule["host"] == HOST
    assert MANIFESTS["Ingress"]["spec"]["tls"][0]["hosts"] == [HOST]


def test_the_manifests_fit_together() -> None:
    """Every name that one manifest has of another is that other's name."""
    names = {kind: manifest["metadata"]["name"] for kind, manifest in MANIFESTS.items()}
    namespaces = {
        manifest["metadata"].get("namespace", manifest["metadata"]["name"]) for manifest in MANIFESTS.values()
    }
    assert namespaces == {names["Namespace"]}
    assert ANNOTATIONS["auth-tls-secret"] == f"{names['Namespace']}/{names['Secret']}"
    assert set(MANIFESTS["Secret"]["stringData"]) == {"ca.crt"}

    pod = MANIFESTS["Deployment"]["spec"]["template"]
    labels = pod["metadata"]["labels"]
    assert MANIFESTS["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert MANIFESTS["Service"]["spec"]["selector"] == labels
    assert MANIFESTS["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == labels

    (container,) = pod["spec"]["containers"]
    assert container["ports"] == [{"name": "http", "containerPort": 8000}]
    assert "--port=8000" in container["command"]
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    assert volumes["rules"]["configMap"]["name"] == names["ConfigMap"]
    assert volumes["clients"]["secret"]["secretName"] == names["Secret"]
    mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounted["clients"] == str(Path(CA).parent)
    backend = MANIFESTS["Ingress"]["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
    assert backend == {"name": names["Service"], "port": {"name": MANIFESTS["Service"]["spec"]["ports"][0]["name"]}}


def test_nobody_but_the_controller_reaches_the_app() -> None:
    """The whole network of the pods is believed, so the policy has to keep all but one of them away."""
    spec = MANIFESTS["NetworkPolicy"]["spec"]
    assert spec["policyTypes"] == ["Ingress"]
    (rule,) = spec["ingress"]
    (peer,) = rule["from"]
    assert set(peer) == {"namespaceSelector", "podSelector"}
    assert peer["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "ingress-nginx"}
    assert peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "controller"
    assert rule["ports"] == [{"protocol": "TCP", "port": 8000}]


def test_the_rules_load(world: World, tmp_path: Path) -> None:
    """The access.toml in the ConfigMap is one that keyfob starts with."""
    text = MANIFESTS["ConfigMap"]["data"]["access.toml"]
    assert CA in text
    (tmp_path / "access.toml").write_text(text.replace(CA, str(world.ca)), encoding="utf-8")
    source = load_gate(tmp_path / "access.toml").source
    assert isinstance(source, HeaderSource)


def test_the_placeholder_is_no_authority(tmp_path: Path) -> None:
    """Who forgets to put the CA into the Secret gets an app that does not start, not one that believes anybody."""
    (tmp_path / "ca.crt").write_text(MANIFESTS["Secret"]["stringData"]["ca.crt"], encoding="utf-8")
    text = MANIFESTS["ConfigMap"]["data"]["access.toml"].replace(CA, str(tmp_path / "ca.crt"))
    (tmp_path / "access.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=re.escape("ca.crt")):
        load_gate(tmp_path / "access.toml")
