"""access.toml, read and turned into a Gate."""

from keyfob.config.building import build_gate, gate_for_roots, load_gate
from keyfob.config.files import Files
from keyfob.config.naming import compile_requirement

__all__ = ["Files", "build_gate", "compile_requirement", "gate_for_roots", "load_gate"]
