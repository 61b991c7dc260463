"""The same files and flags for Debian's cfssl and for ours; every difference is in a table, with the reason for it."""

import base64
import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from certificates import CLIENT, DAY, Extensions, Key, make_authority, make_certificate, make_leaf, make_name
from judges.cfssl import (
    Ended,
    Facts,
    describe_answer,
    describe_csr,
    describe_extensions,
    find_differences,
    run_ours,
    run_theirs,
)
from servers import find_program

NAMES = [{"C": "PT", "L": "Lisbon", "O": "Money App Test", "OU": "Phones"}]
EVERYTHING = [
    {"C": "PT", "ST": "Minho", "L": "Lisbon", "O": "Zé & Cª", "OU": "a@b"},
    {"C": "DE", "O": "A*B", "OU": "Phones"},
]
CA = "-ca=ca.pem -ca-key=ca-key.pem"
WITH = f"{CA} -config=config.json"


def request(**more: Any) -> dict[str, Any]:
    """The JSON of a CSR."""
    return {"CN": "Rhea Group", "key": {"algo": "ecdsa", "size": 256}, "names": NAMES} | more


def root(**more: Any) -> dict[str, Any]:
    return request(**{"CN": "Money App Test"} | more)


def config(**profile: Any) -> dict[str, Any]:
    """A ca-config.json with a profile `p`, and one below it."""
    complete = {"usages": ["digital signature", "client auth"], "expiry": "72h30m", **profile}
    return {"signing": {"default": {"expiry": "8760h"}, "profiles": {"p": complete}}}


class Situation(NamedTuple):
    """A command of cfssl's, and the files that it works on; JSON where they are no text."""

    words: str
    files: Mapping[str, Any] = {}

    def write(self, folder: Path) -> None:
        for name, content in self.files.items():
            text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
            (folder / name).write_text(text, encoding="utf-8")


GENCERT = f"gencert {WITH} -profile=p csr.json"
INITCA = "genkey -initca csr.json"


def profiled(**profile: Any) -> Situation:
    return Situation(GENCERT, {"config.json": config(**profile), "csr.json": request()})


def founded(**more: Any) -> Situation:
    return Situation(INITCA, {"csr.json": root(**more)})


def hosted(*hosts: str) -> Situation:
    return Situation(f"gencert {CA} csr.json", {"csr.json": request(hosts=hosts)})


ALL_USAGES = (
    *("signing", "digital signature", "key encipherment", "key agreement", "data encipherment", "cert sign"),
    *("crl sign", "encipher only", "decipher only", "any", "server auth", "client auth", "code signing"),
    *("email protection", "ipsec end system", "ipsec tunnel", "ipsec user", "timestamping", "ocsp signing"),
    *("microsoft sgc", "netscape sgc"),
)
WALKTHROUGH = {
    "signing": {
        "default": {"expiry": "8760h"},
        "profiles": {
            "server": {"usages": ["signing", "digital signing", "key encipherment", "server auth"], "expiry": "8760h"},
            "client": {
                "usages": ["signing", "digital signature", "key encipherment", "client auth"],
                "expiry": "8760h",
            },
        },
    }
}
POLICIES = [
    {"ID": "1.2.3.4"},
    {
        "ID": "1.2.3.5",
        "Qualifiers": [
            {"Type": "id-qt-cps", "Value": "http://ca.example/cps"},
            {"Type": "id-qt-unotice", "Value": "Só para provas"},
        ],
    },
]

# What both do, each on the files of the situation and on one authority.
SITUATIONS: dict[str, Situation] = {
    # New authorities.
    "CA": founded(),
    "CA, RSA 2048": founded(key={"algo": "rsa", "size": 2048}),
    "CA, P-384": founded(key={"algo": "ecdsa", "size": 384}),
    "CA, P-521": founded(key={"algo": "ecdsa", "size": 521}),
    "CA, no key named": Situation(INITCA, {"csr.json": {"CN": "Money App Test"}}),
    "CA, no common name": Situation(INITCA, {"csr.json": {"names": NAMES}}),
    "CA, every kind of name": founded(names=EVERYTHING, serialnumber="42"),
    "CA, pathlen": founded(ca={"pathlen": 1}),
    "CA, pathlenzero": founded(ca={"pathlenzero": True}),
    "CA, pathlen and pathlenzero": founded(ca={"pathlen": 2, "pathlenzero": True}),
    "CA, pathlen nought": founded(ca={"pathlen": 0}),
    "CA, expiry": founded(ca={"expiry": "87600h30m15.5s"}),
    "CA, backdate": founded(ca={"expiry": "100h", "backdate": "2h"}),
    "CA, crl_url": founded(crl_url="http://ca.example/ca.crl"),
    "CA, hosts": founded(hosts=["ca.example", "10.0.0.1", "ca@example.com"]),
    "CA by gencert": Situation("gencert -initca csr.json", {"csr.json": root()}),
    "CA on a key, RSA 3072": Situation("gencert -initca -ca-key rsa-key.pem csr.json", {"csr.json": root()}),
    "CA on a key, RSA 4096": Situation("gencert -initca -ca-key rsa4096-key.pem csr.json", {"csr.json": root()}),
    "CA on a key, path length and expiry": Situation(
        "gencert -initca -ca-key ca-key.pem csr.json", {"csr.json": root(ca={"pathlen": 3, "expiry": "10h"})}
    ),
    "CA renewed": Situation(f"gencert -renewca {CA}"),
    "CA renewed, path length 0": Situation("gencert -renewca -ca deep.pem -ca-key deep-key.pem"),
    # Flags as Go takes them.
    "-initca=true": Situation("genkey -initca=true csr.json", {"csr.json": root()}),
    "--initca, --loglevel": Situation("genkey --initca --loglevel 4 csr.json", {"csr.json": root()}),
    "-initca=F": Situation("genkey -initca=F csr.json", {"csr.json": root()}),
    "flags with spaces": Situation(
        "gencert -ca ca.pem --ca-key ca-key.pem -config config.json --profile=p -- csr.json",
        {"config.json": config(), "csr.json": request()},
    ),
    # Keys and CSRs alone.
    "key and CSR": Situation("genkey csr.json", {"csr.json": request()}),
    "key and CSR, RSA 2048": Situation("genkey csr.json", {"csr.json": request(key={"algo": "rsa", "size": 2048})}),
    "key and CSR, every kind of name": Situation(
        "genkey csr.json",
        {"csr.json": request(names=EVERYTHING, serialnumber="7/é", hosts=["b.example", "10.0.0.1", "a@example.com"])},
    ),
    "keys of JSON in other letters": Situation(
        "genkey csr.json", {"csr.json": {"cn": "x", "HOSTS": ["a.example"], "Key": {"ALGO": "rsa", "Size": 2048}}}
    ),
    "null for what is not there": Situation(
        "genkey csr.json", {"csr.json": {"CN": "x", "hosts": None, "key": None, "names": None, "ca": None}}
    ),
    # Certificates by profiles.
    "no configuration": Situation(f"gencert {CA} csr.json", {"csr.json": request(hosts=["a.example"])}),
    "no default profile": Situation(
        f"gencert {WITH} csr.json", {"config.json": {"signing": {"profiles": {}}}, "csr.json": request()}
    ),
    "the default profile": Situation(
        f"gencert {WITH} csr.json",
        {"config.json": {"signing": {"default": {"usages": ["client auth"], "expiry": "1h"}}}, "csr.json": request()},
    ),
    "the walkthrough's client": Situation(
        f"gencert {WITH} -profile=client csr.json", {"config.json": WALKTHROUGH, "csr.json": request(hosts=[""])}
    ),
    "the walkthrough's server": Situation(
        f"gencert {WITH} -profile=server csr.json",
        {"config.json": WALKTHROUGH, "csr.json": request(hosts=["localhost", "127.0.0.1"])},
    ),
    "client": profiled(),
    "peer": profiled(usages=["signing", "key encipherment", "server auth", "client auth"]),
    "key usages alone": profiled(usages=["content committment", "key agreement"]),
    "key usages as spelt since 2017": profiled(usages=["signing", "content commitment"]),
    "an extended usage alone": profiled(usages=["s/mime"]),
    "every usage": profiled(usages=ALL_USAGES),
    "one usage in two words": profiled(usages=["email protection", "s/mime", "client auth", "client auth"]),
    "an intermediate": profiled(usages=["cert sign", "crl sign"], ca_constraint={"is_ca": True}),
    "an intermediate of path length 0": profiled(
        usages=["cert sign", "crl sign"], ca_constraint={"is_ca": True, "max_path_len": 0, "max_path_len_zero": True}
    ),
    "an intermediate of path length 2": profiled(
        usages=["cert sign"], ca_constraint={"is_ca": True, "max_path_len": 2, "max_path_len_zero": True}
    ),
    "an intermediate with hosts": Situation(
        GENCERT,
        {
            "config.json": config(usages=["cert sign"], ca_constraint={"is_ca": True}),
            "csr.json": request(hosts=["ca.example", "10.0.0.1"]),
        },
    ),
    "no authority, said aloud": profiled(ca_constraint={"is_ca": False}),
    "backdate": profiled(backdate="1h30m"),
    "not_before and not_after": profiled(not_before="2020-02-03T04:05:06Z", not_after="2060-02-03T04:05:06+02:00"),
    "not_before": profiled(not_before="2020-02-03T04:05:06.789Z"),
    "Go's zero for a moment": profiled(not_before="0001-01-01T00:00:00Z"),
    "URLs": profiled(
        ocsp_url="http://ca.example/ocsp",
        crl_url="http://ca.example/ca.crl",
        issuer_urls=["http://ca.example/ca.cer", "http://ca.example/other.cer"],
    ),
    "URLs and expiry of the default profile": Situation(
        GENCERT,
        {
            "csr.json": request(),
            "config.json": {
                "signing": {
                    "default": {
                        "expiry": "2h",
                        "crl_url": "http://d.example/crl",
                        "ocsp_url": "http://d.example/ocsp",
                        "issuer_urls": ["http://d.example/ca"],
                        "usages": ["any"],
                        "backdate": "9h",
                    },
                    "profiles": {"p": {"usages": ["client auth"], "expiry": "0s"}},
                }
            },
        },
    ),
    "an empty list of URLs": Situation(
        GENCERT,
        {
            "csr.json": request(),
            "config.json": {
                "signing": {
                    "default": {"expiry": "2h", "issuer_urls": ["http://d.example/ca"]},
                    "profiles": {"p": {"usages": ["client auth"], "expiry": "1h", "issuer_urls": []}},
                }
            },
        },
    ),
    "-crl": Situation(
        f"gencert {WITH} -profile=p -crl http://other.example/crl csr.json",
        {"config.json": config(crl_url="http://ca.example/ca.crl"), "csr.json": request()},
    ),
    "OCSP without check": profiled(ocsp_no_check=True, usages=["ocsp signing"]),
    "policies": profiled(policies=POLICIES),
    "policies and OCSP without check": profiled(policies=POLICIES[:1], ocsp_no_check=True),
    "names that are allowed": profiled(name_whitelist="^Rhea"),
    "a server, an authority and keys in a configuration": Situation(
        GENCERT,
        {
            "csr.json": request(),
            "config.json": {
                **config(),
                "auth_keys": {"k": {"type": "standard", "key": "00"}},
                "remotes": {"r": "127.0.0.1:1"},
            },
        },
    ),
    "allowed extensions": profiled(allowed_extensions=["1.2.3.4"]),
    # Who a certificate is for.
    "hosts": hosted("b.example", "*.w.example", "10.0.0.1", "::1", "a@example.com", "a_b.example"),
    "hosts: a mapped address": hosted("::ffff:192.0.2.1"),
    "hosts: a person's mail address": hosted("Rhea <rhea@example.com>"),
    "hosts: a URI": hosted("https://app.example/x"),
    "hosts: a name and a URI": hosted("app.example", "spiffe://example/app"),
    "hosts: empty": hosted(""),
    "hosts: one of them empty": hosted("a.example", ""),
    "hosts: none": hosted(),
    "-hostname": Situation(
        f"gencert {CA} -hostname=b.example,10.0.0.2 csr.json", {"csr.json": request(hosts=["a.example"])}
    ),
    "-cn": Situation(f"gencert {CA} -cn Other csr.json", {"csr.json": request()}),
    "every kind of name": Situation(
        f"gencert {CA} csr.json", {"csr.json": request(names=EVERYTHING, serialnumber="4")}
    ),
    "hosts alone": Situation(f"gencert {CA} csr.json", {"csr.json": {"hosts": ["a.example"]}}),
    "E and OID": Situation(
        f"gencert {CA} csr.json",
        {"csr.json": request(names=[{**NAMES[0], "E": "a@example.com", "OID": {"1.2.3.4": "x"}}])},
    ),
    "a request's own extensions": Situation(
        f"gencert {CA} csr.json",
        {"csr.json": request(extensions=[{"Id": [1, 2, 3, 4], "Critical": False, "Value": "BQA="}])},
    ),
    "the authority's own name": Situation(
        "gencert -ca=named.pem -ca-key=named-key.pem csr.json", {"csr.json": {"CN": "Zé"}}
    ),
    "by an RSA authority": Situation("gencert -ca rsa.pem -ca-key rsa-key.pem csr.json", {"csr.json": request()}),
    "by an authority without a key identifier": Situation(
        "gencert -ca nameless.pem -ca-key nameless-key.pem csr.json", {"csr.json": request()}
    ),
    # CSRs that are there already.
    "sign": Situation(f"sign {CA} theirs.csr"),
    "sign, by flag": Situation(f"sign {CA} -csr theirs.csr"),
    "sign, by profile": Situation(f"sign {WITH} -profile p theirs.csr", {"config.json": config()}),
    "sign, with -hostname": Situation(f"sign {CA} -hostname other.example theirs.csr"),
    "sign, with a subject": Situation(
        f"sign {CA} theirs.csr subject.json",
        {"subject.json": {"CN": "Other", "names": [{"O": "Else", "OU": "Some"}], "SerialNumber": "9"}},
    ),
    "sign, with a part of a subject": Situation(
        f"sign {CA} theirs.csr subject.json", {"subject.json": {"names": [{"C": "DE"}]}}
    ),
    "sign a CSR with attributes that are rare": Situation(f"sign {CA} rare.csr"),
    "sign a CSR with a URI": Situation(f"sign {CA} uri.csr"),
    # Certificates that sign themselves.
    "selfsign": Situation("selfsign a.example csr.json", {"csr.json": request(hosts=["a.example"])}),
    "selfsign by the default profile": Situation(
        "selfsign -config config.json a.example csr.json",
        {
            "config.json": {
                "signing": {
                    "default": {
                        "expiry": "5h",
                        "usages": ["server auth"],
                        "issuer_urls": ["http://x.example/"],
                        "crl_url": "http://x.example/crl",
                    }
                }
            },
            "csr.json": request(),
        },
    ),
}

SAN = ("order of extensions", "subjectAltName")
BOTH_SANS = (*SAN, "CSR: attributes", "CSR: order of extensions", "CSR: subjectAltName")
BOTH_SUBJECTS = ("subject", "CSR: subject")
AKI = ("order of extensions", "authorityKeyIdentifier")

# What differs on purpose: the reason, the situations, and the facts, all of which have to differ. "Newer" is what
# cfssl itself does since then: Debian's is of 2016.
WANTED: dict[str, dict[str, tuple[str, ...]]] = {
    "an empty host is no host, and none of the alternative names": {
        "the walkthrough's client": BOTH_SANS,
        "hosts: empty": BOTH_SANS,
        "hosts: one of them empty": ("subjectAltName", "CSR: subjectAltName"),
    },
    "RFC 5280 section 4.2.1.1 asks for the issuer's key, also where names are alike or it does not say itself": {
        "the authority's own name": AKI,
        "by an authority without a key identifier": AKI,
    },
    "a usage stands there once": {"one usage in two words": ("extendedKeyUsage",)},
    "a serial number has 159 random bits, also when a certificate signs itself": {
        "selfsign": ("serial number",),
        "selfsign by the default profile": ("serial number",),
    },
    "the expiry of a certificate that signs itself counts from its beginning, as that of every other": {
        "selfsign": ("lifetime",),
        "selfsign by the default profile": ("lifetime",),
    },
    "a certificate that signs itself is for HOSTNAME, which cfssl reads and forgets; newer: for its hosts, too": {
        "selfsign": SAN,
        "selfsign by the default profile": SAN,
    },
    "a certificate that signs itself says of its profile all that others say": {
        "selfsign by the default profile": ("order of extensions", "cRLDistributionPoints"),
    },
    "newer: a certificate that signs itself is by a profile": {
        "selfsign by the default profile": ("keyUsage", "extendedKeyUsage", "authorityInfoAccess"),
    },
    "newer: URIs are alternative names of their own; in 2016 they were host names": {
        "hosts: a URI": ("subjectAltName", "CSR: subjectAltName"),
        "hosts: a name and a URI": ("subjectAltName", "CSR: subjectAltName"),
        "sign a CSR with a URI": SAN,
    },
    "newer: a root is backdated as its request says": {"CA, backdate": ("begins",)},
    "newer: a root says where its lists are": {"CA, crl_url": ("order of extensions", "cRLDistributionPoints")},
    "newer: 'content commitment', which was spelt with a t too many and is read either way": {
        "key usages as spelt since 2017": ("keyUsage",)
    },
    "newer: E and OID stand in the subject": {"E and OID": BOTH_SUBJECTS},
    "newer: what is rare in a CSR's subject is taken over": {"sign a CSR with attributes that are rare": ("subject",)},
    "newer: a request's own extensions stand in its CSR": {
        "a request's own extensions": ("CSR: attributes", "CSR: order of extensions", "CSR: 1.2.3.4")
    },
}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with authorities, keys and CSRs that neither of them has made."""
    find_program("cfssl", "golang-cfssl")
    folder = tmp_path_factory.mktemp("authority")
    write_authority(folder, "ca", "Test CA")
    write_authority(folder, "deep", "Deep", path_length=0)
    write_authority(folder, "rsa", "RSA", rsa.generate_private_key(65537, 3072))
    # Not in ASCII, so that both write it with the same type of string.
    write_authority(folder, "named", "Zé")
    make_authority().write(folder, "nameless")
    key = rsa.generate_private_key(65537, 4096)
    (folder / "rsa4096-key.pem").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    )
    write_authority(folder, "shallow", "Shallow", path_length=1)
    make_authority("Ended", ends=-DAY).write(folder, "ended")
    make_leaf(make_authority()).write(folder, "device")
    write_csr(folder / "twice.csr", [*THEIRS, THEIRS[0]])
    write_csr(folder / "weak.csr", THEIRS, key=rsa.generate_private_key(65537, 1024))  # noqa: S505 - it is to be refused
    write_csr(folder / "greedy.csr", THEIRS, is_authority=True)
    (folder / "forged.csr").write_text(spoil((folder / "greedy.csr").read_text()))
    write_csr(folder / "theirs.csr", THEIRS, ["a.example", "b.example"])
    write_csr(folder / "rare.csr", [*THEIRS, ("email_address", "a@example.com"), ("title", "Dr")])
    write_csr(folder / "uri.csr", THEIRS[:1], [], x509.UniformResourceIdentifier("https://app.example/"))
    write_csr(folder / "uris.csr", THEIRS[:1], [], *map(x509.UniformResourceIdentifier, URIS))
    return folder


def write_authority(
    folder: Path, name: str, common_name: str, key: Key | None = None, path_length: int | None = None
) -> None:
    key = key or ec.generate_private_key(ec.SECP256R1())
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    basic = x509.BasicConstraints(ca=True, path_length=path_length)
    extensions: Extensions = [(basic, True), (identifier, False)]
    make_certificate(make_name(common_name), None, extensions, key=key, ends=3650 * DAY).write(folder, name)


# In another order than cfssl's.
THEIRS = [
    ("common_name", "theirs"),
    ("serial_number", "7"),
    ("organizational_unit_name", "U"),
    ("organization_name", "Ö"),
    ("postal_code", "1000"),
    ("street_address", "Rua"),
    ("locality_name", "Lisboa"),
    ("state_or_province_name", "L"),
    ("country_name", "PT"),
]


def write_csr(
    path: Path,
    subject: list[tuple[str, str]],
    hosts: Sequence[str] = (),
    *others: x509.GeneralName,
    key: Key | None = None,
    is_authority: bool = False,
) -> None:
    name = x509.Name([x509.NameAttribute(getattr(NameOID, oid.upper()), value) for oid, value in subject])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    builder = builder.add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
    names = [*map(x509.DNSName, hosts), *others]
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False) if names else builder
    builder = builder.add_extension(x509.ExtendedKeyUsage([CLIENT]), critical=False)
    csr = builder.sign(key or ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    path.write_bytes(csr.public_bytes(Encoding.PEM))


URIS = [
    "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
    "spiffe://example/a%20b/c%2Fd?q=1&r=%20#f%2Fg",
    "https://a:b@app.example:8443/x?",
    "file:/x/y!(z)",
    "https://app.example",
]


def spoil(pem: str) -> str:
    """The CSR with the last octet of its signature changed."""
    der = bytearray(x509.load_pem_x509_csr(pem.encode()).public_bytes(Encoding.DER))
    der[-1] ^= 1
    return x509.load_der_x509_csr(bytes(der)).public_bytes(Encoding.PEM).decode()


def run_both(situation: Situation, authority: Path, folder: Path) -> tuple[Ended, Ended]:
    shutil.copytree(authority, folder, dirs_exist_ok=True)
    situation.write(folder)
    return run_theirs(folder, f"cfssl {situation.words}"), run_ours(folder, f"cfssl {situation.words}")


def wanted(name: str) -> set[str]:
    return {fact for rows in WANTED.values() for fact in rows.get(name, ())}


@pytest.mark.parametrize("name", SITUATIONS)
def test_both_make_the_same(name: str, authority: Path, tmp_path: Path) -> None:
    """Every field of certificates and CSRs is as cfssl has it, but for what the table says, which has to differ."""
    theirs, ours = run_both(SITUATIONS[name], authority, tmp_path)
    assert (theirs.status, ours.status) == (0, 0), (theirs.stderr, ours.stderr)
    assert theirs.answer
    found = find_differences(describe_answer(theirs), describe_answer(ours))
    if name.startswith("selfsign"):
        # Theirs begins five minutes ago to the second, which may be a full minute.
        found.pop("begins at a full minute", None)
    assert found.keys() | find_begins(theirs, ours) == wanted(name), (theirs.stdout, ours.stdout)


def find_begins(theirs: Ended, ours: Ended) -> set[str]:
    """Whether the certificates begin at different times: minutes apart, since the test may be slow."""
    found = [
        x509.load_pem_x509_certificate(each.answer["cert"].encode()) for each in (theirs, ours) if "cert" in each.answer
    ]
    moments = [each.not_valid_before_utc for each in found]
    return {"begins"} if moments and max(moments) - min(moments) > timedelta(minutes=30) else set()


def test_every_wanted_difference_is_of_a_situation() -> None:
    """A row about nothing would never be missed."""
    assert {name for rows in WANTED.values() for name in rows} <= SITUATIONS.keys()
    assert len(SITUATIONS) >= 25


# --- What cfssl makes, and we refuse --------------------------------------------------------------------------------


def signing(**default: Any) -> dict[str, Any]:
    """A ca-config.json with a default profile alone."""
    return {"signing": {"default": {"usages": ["client auth"], "expiry": "1h", **default}}}


def asked(**more: Any) -> Situation:
    return Situation("genkey csr.json", {"csr.json": request(**more)})


# By the words that the refusal has to have in it.
REFUSED: dict[str, tuple[str, Situation]] = {
    "csr.json: host: nothing is known of this key": ("a key that nobody knows is passed over", asked(host=["a"])),
    "csr.json: CN: stands there twice": (
        "of a key that comes twice, the last one counts",
        Situation("genkey csr.json", {"csr.json": '{"CN": "a", "cn": "b"}'}),
    ),
    "signing.profiles.p.usage: nothing is known of this key": (
        "the same in a configuration, where the certificate lacks what it should say",
        profiled(usage=["server auth"]),
    ),
    "'client-auth' is no usage": (
        "without the extended usage that was meant, a certificate is good for everything",
        profiled(usages=["signing", "client-auth"]),
    ),
    "has no profile 'clients'": (
        "the default profile may allow more than the one that was meant",
        Situation(f"gencert {WITH} -profile clients csr.json", {"config.json": signing(), "csr.json": request()}),
    ),
    "there is no profile 'p' without a file": (
        "the same without a configuration",
        Situation(f"gencert {CA} -profile p csr.json", {"csr.json": request()}),
    ),
    "auth_key: cannot be obeyed here": (
        "a command without a server asks nobody for it",
        Situation(
            GENCERT,
            {
                "csr.json": request(),
                "config.json": {**config(auth_key="k"), "auth_keys": {"k": {"type": "standard", "key": "00"}}},
            },
        ),
    ),
    "lint_error_level: cannot be obeyed here": ("newer: there is no linter here", profiled(lint_error_level=3)),
    "delegation_enabled: delegated credentials": ("newer: they are not made here", asked(delegation_enabled=True)),
    "names[0].SerialNumber: says nothing here": (
        "it is read and forgotten",
        asked(names=[{"O": "x", "SerialNumber": "7"}]),
    ),
    '"crl_url" in a request is for a new authority': (
        "newer: it is read and forgotten, but for a root",
        Situation(f"gencert {CA} csr.json", {"csr.json": request(crl_url="http://a.example/")}),
    ),
    "'Portugal' cannot stand in a subject": ("RFC 5280 appendix A.1: two letters", asked(names=[{"C": "Portugal"}])),
    "cannot stand in a subject as commonName": ("RFC 5280 appendix A.1: 64 characters", asked(CN="a" * 65)),
    "has a character in it that cannot be seen": ("a name is what it looks like", asked(CN="a\u202eb")),
    "csr.json names nobody": (
        "a certificate about nobody",
        Situation(f"gencert {CA} csr.json", {"csr.json": {}}),
    ),
    "'a b' is no host name": ("no program asks for such a host", hosted("a b")),
    "'/a/b' is no host name": ("the same; newer: a URI without a scheme", hosted("/a/b")),
    "'a.example:443' is a host with a port": ("the same; newer: a URI", hosted("a.example:443")),
    "-hostname: [1]: ' b.example' is no host name": (
        "the same from the command line",
        Situation(f"gencert {CA} -hostname 'a.example, b.example' csr.json", {"csr.json": request()}),
    ),
    "'encipher only' says something beside 'key agreement' alone": (
        "RFC 5280 section 4.2.1.3: undefined without it",
        profiled(usages=["signing", "encipher only"]),
    ),
    "a path length says nothing without is_ca": (
        "it is read and forgotten",
        profiled(ca_constraint={"max_path_len": 1}),
    ),
    "may make no further authorities": (
        "nobody would believe an authority below it",
        Situation(
            "gencert -ca deep.pem -ca-key deep-key.pem -config=config.json -profile=p csr.json",
            {"csr.json": request(), "config.json": config(usages=["cert sign"], ca_constraint={"is_ca": True})},
        ),
    ),
    "has a path length of 1": (
        "the same one further up",
        Situation(
            "gencert -ca shallow.pem -ca-key shallow-key.pem -config=config.json -profile=p csr.json",
            {
                "csr.json": request(),
                "config.json": config(usages=["cert sign"], ca_constraint={"is_ca": True, "max_path_len": 1}),
            },
        ),
    ),
    "ended on": (
        "nobody believes what an authority signs after its end",
        Situation("gencert -ca ended.pem -ca-key ended-key.pem csr.json", {"csr.json": request()}),
    ),
    "is no authority: nobody would believe": (
        "nor what a device signs",
        Situation("gencert -ca device.pem -ca-key device-key.pem csr.json", {"csr.json": request()}),
    ),
    "weak.csr has a key that is not used here": (
        "an RSA key of 1024 bits proves nothing",
        Situation(f"sign {CA} weak.csr"),
    ),
    "the subject has more than one common name": ("the last one counts", Situation(f"sign {CA} twice.csr")),
    "2049 bits are no RSA key": (
        "OpenSSL makes other sizes of odd ones",
        asked(key={"algo": "rsa", "size": 2049}),
    ),
    "'-1h' is no duration": ("a certificate that begins in its reader's future", profiled(backdate="-1h")),
    "a certificate cannot live from": ("one that ends before it begins", profiled(not_after="2001-01-01T00:00:00Z")),
    "'not a url' is no URL": ("nobody could fetch it", profiled(crl_url="not a url")),
    "name_whitelist: has something in it that RE2": (
        "what Go may read otherwise",
        profiled(name_whitelist="Rhea[[:space:]]"),
    ),
    "-initca stands behind a file": (
        "it is passed over, and no authority comes of it",
        Situation("genkey csr.json -initca", {"csr.json": request()}),
    ),
    "-cn stands there twice": (
        "the last one counts",
        Situation(f"gencert {CA} -cn a -cn b csr.json", {"csr.json": request()}),
    ),
    "-label is a flag of cfssl's that is not obeyed here": (
        "it says something to a server alone",
        Situation(f"gencert {CA} -label x csr.json", {"csr.json": request()}),
    ),
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_cfssl_makes_and_we_refuse(words: str, authority: Path, tmp_path: Path) -> None:
    """The refusal names what is wrong; what cfssl does of it instead is the reason that stands beside it."""
    theirs, ours = run_both(REFUSED[words][1], authority, tmp_path)
    assert theirs.answer.keys() & {"cert", "csr"}, theirs.stderr
    assert words in require_refusal(ours)


# What neither makes anything of, by the words of our refusal.
BOTH_REFUSE: dict[str, Situation] = {
    "signing.default: has no usages": Situation(
        f"gencert {WITH} csr.json", {"config.json": config(), "csr.json": request()}
    ),
    'a request with "ca" is for a new authority': Situation(
        f"gencert {CA} csr.json", {"csr.json": request(ca={"pathlen": 1})}
    ),
    "asks for an authority, and the profile allows none": Situation(f"sign {CA} greedy.csr"),
    "1024 bits are no RSA key": asked(key={"algo": "rsa", "size": 1024}),
    "no number of bits are no RSA key": asked(key={"algo": "rsa"}),
    "there is no curve of 224 bits": asked(key={"algo": "ecdsa", "size": 224}),
    "'RSA' is no algorithm": asked(key={"algo": "RSA", "size": 2048}),
    "no phone imports an Ed25519 key": asked(key={"algo": "ed25519"}),
    "key.size: is not a whole number": asked(key={"algo": "rsa", "size": "2048"}),
    "'1y' is no duration": profiled(expiry="1y"),
    "is longer than 292 years": profiled(expiry="8760000h"),
    "signing.profiles.p.expiry: is missing": profiled(expiry=""),
    "signing.profiles.p.usages: are missing": profiled(usages=[]),
    "'nothing' is no usage": profiled(usages=["nothing"]),
    "signing.default.expiry: is nought": Situation(
        f"gencert {WITH} csr.json", {"config.json": signing(expiry="0"), "csr.json": request()}
    ),
    'has no "signing"': Situation(f"gencert {WITH} csr.json", {"config.json": {}, "csr.json": request()}),
    "line 1 is no JSON": Situation("genkey csr.json", {"csr.json": '{"CN": "x",}'}),
    "is no JSON object": Situation("genkey csr.json", {"csr.json": "[]"}),
    "csr.json: is empty": Situation("genkey csr.json", {"csr.json": ""}),
    "'Rhea Group' is not allowed by": profiled(name_whitelist="^phone-"),
    "name_whitelist: is no expression": profiled(name_whitelist="("),
    "'2027-01-31' is no moment": profiled(not_before="2027-01-31"),
    "not_after: is before not_before": profiled(not_before="2027-01-31T00:00:00Z", not_after="2026-01-31T00:00:00Z"),
    "the authority has no name": founded(CN="", names=[]),
    "'1.x' is no object identifier": profiled(allowed_extensions=["1.x"]),
    "'other' is no qualifier": profiled(policies=[{"ID": "1.2.3", "Qualifiers": [{"Type": "other", "Value": "x"}]}]),
    "do not belong together": Situation("gencert -ca ca.pem -ca-key deep-key.pem csr.json", {"csr.json": request()}),
    "-ca-key is missing": Situation("gencert -ca ca.pem csr.json", {"csr.json": request()}),
    "none.json cannot be read": Situation("genkey none.json"),
    "cannot be read as a CSR": Situation(f"sign {CA} ca.pem"),
    "forged.csr is not signed by its own key": Situation(f"sign {CA} forged.csr"),
    "signing.profiles.p.remote: cannot be obeyed here": Situation(
        GENCERT,
        {"csr.json": request(), "config.json": {**config(remote="r"), "remotes": {"r": "127.0.0.1:1"}}},
    ),
    "'maybe' is neither true nor false": Situation("genkey -initca=maybe csr.json", {"csr.json": request()}),
    "No such option": Situation("genkey -initcb csr.json", {"csr.json": request()}),
}


@pytest.mark.parametrize("words", BOTH_REFUSE)
def test_what_neither_makes(words: str, authority: Path, tmp_path: Path) -> None:
    """Where cfssl refuses, so do we, and say what to do about it."""
    theirs, ours = run_both(BOTH_REFUSE[words], authority, tmp_path)
    assert theirs.answer == {}
    assert words in require_refusal(ours)


def require_refusal(ours: Ended) -> str:
    """What our command said: nothing on stdout, an error and a hint on stderr."""
    assert ours.status in (1, 2), ours
    assert ours.stdout == ""
    lines = [line for line in ours.stderr.splitlines() if not line.startswith("warning: ")]
    assert [line.partition(": ")[0] for line in lines] == ["error", "hint"], ours.stderr
    return lines[0]


# --- gencsr, which Debian's does not have yet -----------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in SITUATIONS if SITUATIONS[name].words == "genkey csr.json"])
def test_a_csr_on_a_key_is_that_of_genkey(name: str, authority: Path, tmp_path: Path) -> None:
    """`gencsr`, given the key that cfssl has made of a request, makes the CSR that cfssl has made of it."""
    theirs, _ = run_both(SITUATIONS[name], authority, tmp_path)
    (tmp_path / "key.pem").write_text(theirs.answer["key"])
    ours = run_ours(tmp_path, "cfssl gencsr -key key.pem csr.json")
    assert ours.answer["key"] == theirs.answer["key"]
    assert find_differences(describe_answer(theirs), describe_answer(ours)) == {}
    keys = [x509.load_pem_x509_csr(each.answer["csr"].encode()).public_key() for each in (theirs, ours)]
    assert keys[0] == keys[1]


def test_a_csr_like_a_certificate_asks_for_what_it_says(authority: Path, tmp_path: Path) -> None:
    """`gencsr -cert` takes subject and hosts from a certificate that cfssl has made."""
    theirs, _ = run_both(hosted("b.example", "10.0.0.1", "a@example.com"), authority, tmp_path)
    (tmp_path / "old.pem").write_text(theirs.answer["cert"])
    (tmp_path / "key.pem").write_text(theirs.answer["key"])
    ours = run_ours(tmp_path, "cfssl gencsr -key key.pem -cert old.pem")
    assert find_differences(describe_csr(theirs.answer["csr"]), describe_csr(ours.answer["csr"])) == {}


# --- certinfo -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ca.pem", "rsa.pem", "named.pem", "device.pem", "every.pem"])
def test_both_say_the_same_of_a_certificate(name: str, authority: Path, tmp_path: Path) -> None:
    """Letter for letter, from a file and from stdin; but octets have two digits, as in newer ones."""
    make_every_kind(authority, tmp_path)
    theirs, ours = (run(tmp_path, f"cfssl certinfo -cert {name}") for run in (run_theirs, run_ours))
    assert ours.stdout == pad_octets(theirs.stdout)
    assert run_ours(tmp_path, "cfssl certinfo -cert=-", (tmp_path / name).read_text()).stdout == ours.stdout


def test_octets_of_key_identifiers_have_two_digits(authority: Path, tmp_path: Path) -> None:
    """Newer; in 2016 they had one where one was enough, which cannot be compared with what others show."""
    make_every_kind(authority, tmp_path)
    theirs, ours = (run(tmp_path, "cfssl certinfo -cert every.pem").answer for run in (run_theirs, run_ours))
    assert (theirs["subject_key_id"], ours["subject_key_id"]) == ("1:2:A:FF", "01:02:0A:FF")


@pytest.mark.parametrize(
    "name", ["theirs.csr", "rare.csr", "uri.csr", "uris.csr", "greedy.csr", "weak.csr", "every.csr"]
)
def test_both_say_the_same_of_a_csr(name: str, authority: Path, tmp_path: Path) -> None:
    """Letter for letter: it is Go's own structure."""
    make_every_kind(authority, tmp_path)
    theirs, ours = (run(tmp_path, f"cfssl certinfo -csr {name}") for run in (run_theirs, run_ours))
    assert theirs.status == 0
    assert ours.stdout == theirs.stdout
    assert run_ours(tmp_path, "cfssl certinfo -csr=-", (tmp_path / name).read_text()).stdout == ours.stdout


def make_every_kind(authority: Path, folder: Path) -> None:
    """A certificate and a CSR with every kind of name, and characters that mean something in HTML."""
    shutil.copytree(authority, folder, dirs_exist_ok=True)
    hosts = ["b.example", "10.0.0.1", "::1", "a@example.com"]
    made = run_theirs_on(folder, request(names=EVERYTHING, CN="<é>", serialnumber="4", hosts=hosts))
    (folder / "every.csr").write_text(made.answer["csr"])
    name = x509.load_pem_x509_csr(made.answer["csr"].encode()).subject
    addresses = [x509.IPAddress(ip_address(each)) for each in hosts[1:3]]
    names = x509.SubjectAlternativeName([*addresses, x509.DNSName("b.example"), x509.RFC822Name("a@example.com")])
    identifier = x509.SubjectKeyIdentifier(bytes([1, 2, 10, 255]))
    make_certificate(name, None, [(names, False), (identifier, False)]).write(folder, "every")


def run_theirs_on(folder: Path, content: Mapping[str, Any]) -> Ended:
    situation = Situation("genkey csr.json", {"csr.json": content})
    situation.write(folder)
    return run_theirs(folder, f"cfssl {situation.words}")


def pad_octets(text: str) -> str:
    """Writes each octet of a key's identifier with two digits."""
    return re.sub(
        r'(?<=_key_id": ")[0-9A-F:]+', lambda found: ":".join(f"{each:0>2}" for each in found[0].split(":")), text
    )


# --- gencrl ---------------------------------------------------------------------------------------------------------

SERIALS = "12345\n\n  \n340282366920938463463374607431768211455\n"


@pytest.mark.parametrize(("name", "seconds"), [("ca", ""), ("ca", "0"), ("rsa", "3600"), ("named", "86400")])
def test_both_sign_the_same_list(name: str, seconds: str, authority: Path, tmp_path: Path) -> None:
    """Bare base64 of the same list; but with a number, and with the issuer's name as its certificate has it.

    RFC 5280, sections 5.2.3 and 5.1.2.3. cfssl writes the name anew, with the types of string that it prefers.
    """
    shutil.copytree(authority, tmp_path, dirs_exist_ok=True)
    (tmp_path / "serials").write_text(SERIALS)
    words = f"cfssl gencrl serials {name}.pem {name}-key.pem"
    # In 2016, TIME was a file as well; newer: it is the number.
    theirs = run_theirs(tmp_path, f"{words} -" if seconds else words, seconds)
    ours = run_ours(tmp_path, f"{words} {seconds}")
    lists = [x509.load_der_x509_crl(base64.b64decode(each.stdout, validate=False)) for each in (theirs, ours)]
    names = set() if name == "named" else {"issuer"}
    assert find_differences(*map(describe_list, lists)).keys() == {"order of extensions", "cRLNumber"} | names
    assert re.fullmatch(r"[A-Za-z0-9+/]+={0,2}\n", ours.stdout)
    issuer = x509.load_pem_x509_certificate((tmp_path / f"{name}.pem").read_bytes())
    assert lists[1].issuer == issuer.subject
    assert lists[1].issuer.public_bytes() == issuer.subject.public_bytes()
    assert all(each.is_signature_valid(issuer.public_key()) for each in lists)  # type: ignore[arg-type]


def describe_list(each: x509.CertificateRevocationList) -> Facts:
    return {
        "signature": each.signature_algorithm_oid.dotted_string,
        "issuer": each.issuer.public_bytes().hex(),
        "lifetime": each.next_update_utc - each.last_update_utc if each.next_update_utc else None,
        "entries": [
            (entry.serial_number, entry.revocation_date_utc == each.last_update_utc, list(entry.extensions))
            for entry in each
        ],
        **dict(describe_extensions(each.extensions, None)),
    }


def test_a_line_that_is_no_serial_number_is_refused(authority: Path, tmp_path: Path) -> None:
    """Where cfssl revokes number nought, and says nothing."""
    shutil.copytree(authority, tmp_path, dirs_exist_ok=True)
    (tmp_path / "serials").write_text("1\n0x10\n")
    theirs, ours = (run(tmp_path, "cfssl gencrl serials ca.pem ca-key.pem") for run in (run_theirs, run_ours))
    made = x509.load_der_x509_crl(base64.b64decode(theirs.stdout))
    assert [entry.serial_number for entry in made] == [1, 0]
    assert "serials:2: '0x10' is no serial number" in require_refusal(ours)


# --- cfssljson ------------------------------------------------------------------------------------------------------

PIECES = {"cert": "C\n", "csr": "R\n", "key": "K\n", "encrypted_key": "E", "ocspResponse": "AAEC"}
ENVELOPED = {
    "success": True,
    "result": {"certificate": "C\n", "certificate_request": "R\n", "private_key": "K\n", "sums": {"certificate": {}}},
    "errors": [],
    "messages": [],
}


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002], ids=oct)
@pytest.mark.parametrize(
    ("words", "answer"),
    [("-bare x", PIECES), ("-bare", {"cert": "C"}), ("x", ENVELOPED), ("-f in.json -bare x", PIECES)],
)
def test_both_write_the_same_files(words: str, answer: dict[str, Any], mask: int, tmp_path: Path) -> None:
    """The same names, contents and modes, under any umask."""
    find_program("cfssljson", "golang-cfssl")
    text, written = json.dumps(answer), []
    before = os.umask(mask)
    try:
        for folder, run in ((tmp_path / "theirs", run_theirs), (tmp_path / "ours", run_ours)):
            folder.mkdir(mode=0o700)
            (folder / "in.json").write_text(text)
            assert run(folder, f"cfssljson {words}", text) == (0, "", "")
            written.append({path.name: (path.stat().st_mode, path.read_bytes()) for path in folder.iterdir()})
    finally:
        os.umask(before)
    assert written[0] == written[1]
    assert len(written[1]) > 1


@pytest.mark.parametrize(("words", "answer"), [("-bare -stdout", PIECES), ("-stdout", ENVELOPED)])
def test_both_show_the_same(words: str, answer: dict[str, Any], tmp_path: Path) -> None:
    """`-stdout` shows each piece on lines of its own; what is no text in base64."""
    find_program("cfssljson", "golang-cfssl")
    theirs, ours = (run(tmp_path, f"cfssljson {words}", json.dumps(answer)) for run in (run_theirs, run_ours))
    assert ours == theirs
    assert list(tmp_path.iterdir()) == []


# What cfssljson writes, or ends well with nothing written; by the words of our refusal.
REFUSED_FILES: dict[str, tuple[str, str, Mapping[str, Any]]] = {
    "exists and is never written over": ("a key is gone, and what was encrypted to it", "-bare old", {"key": "K"}),
    "holds no certificate, key or CSR": ("a pipe that has failed looks like one that has not", "-bare x", {}),
    "comes in an envelope": ("nothing is written, and all looks well", "-bare x", ENVELOPED),
}


@pytest.mark.parametrize("words", REFUSED_FILES)
def test_what_cfssljson_accepts_and_we_refuse(words: str, tmp_path: Path) -> None:
    """Nothing is written over a key, and nothing written is not success."""
    find_program("cfssljson", "golang-cfssl")
    _, flags, answer = REFUSED_FILES[words]
    (tmp_path / "old-key.pem").write_text("old")
    ours = run_ours(tmp_path, f"cfssljson {flags}", json.dumps(answer))
    assert words in require_refusal(ours)
    assert (tmp_path / "old-key.pem").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["old-key.pem"]
    assert run_theirs(tmp_path, f"cfssljson {flags}", json.dumps(answer)).status == 0


@pytest.mark.parametrize(
    ("words", "flags", "text"),
    [
        ("stdin: is empty", "-bare x", ""),
        ("stdin: line 1 is no JSON", "-bare x", "{"),
        ("comes without the envelope", "x", json.dumps(PIECES)),
        ("has failed: no; not so", "x", '{"success": false, "errors": [{"message": "no"}, {"message": "not so"}]}'),
        ("cert: is of the wrong kind", "-bare x", '{"cert": 1}'),
        ("none.json cannot be read", "-bare -f none.json x", ""),
    ],
)  # fmt: skip
def test_what_neither_writes(words: str, flags: str, text: str, tmp_path: Path) -> None:
    """Where cfssljson refuses, so do we, and leave nothing behind."""
    find_program("cfssljson", "golang-cfssl")
    theirs, ours = (run(tmp_path, f"cfssljson {flags}", text) for run in (run_theirs, run_ours))
    assert theirs.status != 0
    assert words in require_refusal(ours)
    assert list(tmp_path.iterdir()) == []
