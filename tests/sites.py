"""What a gate is built of, for tests that build one by hand, or from a document as a configuration holds it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from keyfob.config.building import Assembly, assemble_document
from keyfob.config.files import Files
from keyfob.config.reading import Raw
from keyfob.errors import ConfigError, Problem
from keyfob.gate import Gate, Site
from keyfob.policy import Application, Names, Policy, PolicyDecision, Rules, compile_rule
from keyfob.policy.paths import EVERY_PATH, Paths, PathTable
from keyfob.sources import Source
from keyfob.sources.tls import TLSSource
from keyfob.trust import Roots, Verifier

CERTIFICATE = compile_rule({"certificate": {}}, Names())
EVERYONE = compile_rule({"everyone": {}}, Names())


DEVICES = Policy("devices", PolicyDecision.NON_IDENTITY, Rules((CERTIFICATE,)))


def make_site(roots: Roots, *policies: Policy, name: str = "Budget") -> Site:
    """A site of one application that covers every path, for every device of `roots` if no policy is named."""
    application = Application(name, policies or (DEVICES,))
    return Site(Paths([PathTable([(EVERY_PATH, application)])]), Verifier(roots))


def make_gate(site: Site, source: Source | None = None) -> Gate:
    """A gate with one site for whatever host."""
    return Gate(source or TLSSource(), {}, Roots((), ()), lambda _: site)


# --- From documents ---------------------------------------------------------------------------------------------------

HOST = "money.example.com"


def write_policy(*include: Mapping[str, Any], name: str = "devices", **changes: Any) -> dict[str, Any]:
    """A policy as a document has it: for any device, if no rule is given."""
    return {"name": name, "decision": "non_identity", "include": [*include] or [{"certificate": {}}]} | changes


def write_application(*policies: Any, domain: str = HOST, **changes: Any) -> dict[str, Any]:
    """An application, named like its domain."""
    return {"name": domain, "domain": domain, "policies": [*policies] or [write_policy()]} | changes


def write_document(*applications: Mapping[str, Any], hosts: Sequence[str] = (HOST,), **changes: Any) -> dict[str, Any]:
    """A document with the root of `ca.pem` for `hosts`; `changes` are its other tables."""
    return {
        "source": {"kind": "tls"},
        "root_certificates": [{"name": "r", "certificate": "ca.pem", "associated_hostnames": [*hosts]}],
        "applications": [*applications] or [write_application()],
    } | changes


def assemble(folder: Path, document: Mapping[str, Any], files: Files | None = None) -> Assembly:
    """What becomes of a document whose files are in `folder`. Raises ConfigError."""
    return assemble_document("access.json", Raw(document), folder, files or Files())


def find_problems(folder: Path, document: Mapping[str, Any]) -> list[Problem]:
    """Everything that is wrong with a document, which there has to be."""
    with pytest.raises(ConfigError) as raised:
        assemble(folder, document)
    return list(raised.value.problems)
