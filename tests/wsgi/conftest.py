"""Certificates, configurations and servers for this folder."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from certificates import DAY, Extensions, Pair, make_authority, make_certificate, make_leaf, make_name, make_server
from deploy.forgeries import make_claims
from wsgi.fleet import Fleet
from wsgi.world import FRONT_HOST, World, write_doors


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The CA's certificate in ca.pem, the same with its intermediate in bundle.pem, and the devices' files."""
    folder = tmp_path_factory.mktemp("wsgi-keys")
    authority, issuer = make_strict_authority("Test CA"), make_authority("Test server CA")
    intermediate = make_strict_authority("Test intermediate", authority)
    subject = make_name("Rhea Group", organization_name='Acme, Inc. "Quoted"')
    victim = make_leaf(authority, subject, extensions=signed_by(authority))
    expired = make_leaf(authority, "Rhea Group", extensions=signed_by(authority), begins=-3 * DAY, ends=-DAY)
    devices = {
        "valid": (make_leaf(authority, "Own device", extensions=signed_by(authority)),),
        "nested": (make_leaf(intermediate, "Nested device", extensions=signed_by(intermediate)), intermediate),
        "expired": (expired,),
        "stranger": (make_leaf(make_authority("Another CA"), "Rhea Group"),),
    }
    authority.write(folder, "ca")
    # Another CA than the devices': a client that knows its own issuer would send that along with its certificate.
    issuer.write(folder, "server-ca")
    make_server(issuer).write(folder, "server")
    make_server(issuer, FRONT_HOST).write(folder, "front")
    (folder / "bundle.pem").write_text(intermediate.pem + authority.pem, encoding="ascii")
    for name, (leaf, *above) in devices.items():
        leaf.write(folder, name, above=above)
    world = World(folder, victim.certificate, make_claims(victim.certificate))
    write_doors(world)
    return world


def make_strict_authority(name: str, issuer: Pair | None = None) -> Pair:
    """One with every extension of RFC 5280: from Python 3.13 on, OpenSSL is asked to insist on them."""
    key = ec.generate_private_key(ec.SECP256R1())
    usage = dict.fromkeys(
        [
            "digital_signature",
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ],
        False,
    )
    extensions: Extensions = [
        (x509.BasicConstraints(ca=True, path_length=None), True),
        (x509.KeyUsage(key_cert_sign=True, crl_sign=True, **usage), True),
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
        *(signed_by(issuer) if issuer else ()),
    ]
    return make_certificate(make_name(name), issuer, extensions, key=key, begins=-5 * DAY, ends=60 * DAY)


def signed_by(issuer: Pair) -> Extensions:
    return [(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), False)]


@pytest.fixture(scope="session")
def fleet(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with ExitStack() as stack:
        yield Fleet(world.folder, world.doors, tmp_path_factory.mktemp("wsgi-servers"), stack)
