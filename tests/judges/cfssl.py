"""cfssl as a judge: Debian's programs and ours on the same files, and what certificates say, fact by fact."""

import json
import os
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import chdir
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtensionOID

from keyfob.cli.main import main

Facts = dict[str, object]


class Ended(NamedTuple):
    """How a command ended."""

    status: int
    stdout: str
    stderr: str

    @property
    def answer(self) -> dict[str, str]:
        """The JSON object that it has printed; empty if it has printed none."""
        try:
            printed = json.loads(self.stdout)
        except ValueError:
            return {}
        return printed if isinstance(printed, dict) else {}


def run_theirs(folder: Path, words: str, stdin: str = "", environment: Mapping[str, str] | None = None) -> Ended:
    """Debian's program, on the files in `folder`."""
    done = subprocess.run(
        shlex.split(words),
        cwd=folder,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, **(environment or {})},
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def run_ours(folder: Path, words: str, stdin: str = "", environment: Mapping[str, str] | None = None) -> Ended:
    """`keyfob` in this process, with its own ends of stdin, stdout and stderr."""
    status = 0
    with (
        CliRunner().isolation(input=stdin.encode("utf-8"), env=environment) as streams,
        chdir(folder),
        patch("sys.argv", ["keyfob", *shlex.split(words)]),
    ):
        try:
            main()
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        stdout, stderr = (each.getvalue().decode("utf-8") for each in streams[:2])
    return Ended(status, stdout, stderr)


def describe_certificate(pem: str) -> Facts:
    """Everything that a certificate says, but for what is another each time: its key, and its serial number."""
    certificate = x509.load_pem_x509_certificate(pem.encode("ascii"))
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return {
        "version": certificate.version,
        "serial number": "63 bits" if certificate.serial_number < 1 << 63 else "159 bits",
        "signature": certificate.signature_algorithm_oid.dotted_string,
        "issuer": certificate.issuer.public_bytes().hex(),
        "subject": certificate.subject.public_bytes().hex(),
        "lifetime": ends - begins,
        "begins at a full minute": begins.second == 0,
        "key": describe_key(certificate.public_key()),
        **dict(describe_extensions(certificate.extensions, certificate.public_key())),
    }


def describe_csr(pem: str) -> Facts:
    """Everything that a CSR says, but for its key."""
    csr = x509.load_pem_x509_csr(pem.encode("ascii"))
    return {
        "CSR: signature": csr.signature_algorithm_oid.dotted_string,
        "CSR: sound": csr.is_signature_valid,
        "CSR: subject": csr.subject.public_bytes().hex(),
        "CSR: key": describe_key(csr.public_key()),
        "CSR: attributes": [each.oid.dotted_string for each in csr.attributes],
        **{f"CSR: {fact}": value for fact, value in describe_extensions(csr.extensions, csr.public_key())},
    }


def describe_key(key: object) -> str:
    match key:
        case rsa.RSAPublicKey():
            return f"RSA {key.key_size} {key.public_numbers().e}"
        case ec.EllipticCurvePublicKey():
            return f"EC {key.curve.name}"
        case _:
            return type(key).__name__


def describe_extensions(extensions: x509.Extensions, key: Any) -> Iterator[tuple[str, object]]:
    """The order of the extensions, and of each whether it is critical, and its value in DER."""
    names = {
        each.oid: each.oid._name if each.oid._name != "Unknown OID" else each.oid.dotted_string for each in extensions
    }
    yield "order of extensions", list(names.values())
    for each in extensions:
        value = each.value.public_bytes().hex()
        if each.oid == ExtensionOID.SUBJECT_KEY_IDENTIFIER:
            # RFC 5280 section 4.2.1.2, method (1).
            digest = x509.SubjectKeyIdentifier.from_public_key(key).digest
            value = "of its own key" if value == f"0414{digest.hex()}" else value
        yield names[each.oid], (each.critical, value)


def describe_answer(ended: Ended) -> Facts:
    """What a command has printed: the keys of its JSON in their order, and all that stands below them."""
    answer = ended.answer
    key = answer.get("key", "")
    return {
        "keys of the answer": list(answer),
        "form of the key": key.split("\n", 1)[0],
        "key fits": _fits(answer),
        **(describe_certificate(answer["cert"]) if "cert" in answer else {}),
        **(describe_csr(answer["csr"]) if "csr" in answer else {}),
    }


def _fits(answer: Mapping[str, str]) -> bool:
    """Whether the key, the CSR and the certificate are about one key."""
    keys: list[Any] = []
    if "cert" in answer:
        keys.append(x509.load_pem_x509_certificate(answer["cert"].encode()).public_key())
    if "csr" in answer:
        keys.append(x509.load_pem_x509_csr(answer["csr"].encode()).public_key())
    if "key" in answer:
        keys.append(load_pem_private_key(answer["key"].encode(), None).public_key())
    return all(key == keys[0] for key in keys)


def find_differences(theirs: Facts, ours: Facts) -> dict[str, tuple[object, object]]:
    """The facts that differ, with both values; None where there is none."""
    facts = [*theirs, *(fact for fact in ours if fact not in theirs)]
    return {fact: (theirs.get(fact), ours.get(fact)) for fact in facts if theirs.get(fact) != ours.get(fact)}
