"""The same chains judged by OpenSSL and by us; each difference is in a table, with the reason for it."""

import re
import subprocess
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from certificates import make_authority, make_server
from judges import lists, paths
from judges.chains import Chain
from judges.openssl import ACCEPTED, join, run_verify, shake_hands
from keyfob.errors import KeyfobError
from keyfob.trust import Revocation, RevocationList, Verifier, read_crls, read_roots
from servers import find_program

# In the patterns below: wherever the intermediates are.
ANYWHERE = "(from the file|sent)"

# What OpenSSL refuses and we accept: the reason, and the names of the chains. A line more here is a hole until proven
# otherwise.
LOOSER = {
    "OpenSSL follows the first certificate of a name, and does not try another; we look for any path that is good": r"""
        circle with a way out
        crossed: (itself|narrow|other|servers) before good
        twins that do not, (one|other last), the intermediate after a (stray|twin)
        twins that do not, other first, the intermediate (alone|(after|before) a twin|after a stray)""",
    "OpenSSL takes common names for host names; here they are those of devices (RFC 5280 does not ask for it)": r"""
        dns excluded(, not critical)?, a subject of a\.ok\.example, ANYWHERE
        dns permitted(, not critical)?, a subject of a\.bad\.example, ANYWHERE""",
    "OpenSSL knows proxy certificates (RFC 3820), which are critical; what is not, and unknown, is passed over": r"""
        harmless proxy at the (root|first intermediate|second intermediate|device), from the file""",
    "OpenSSL wants a list about the root itself, which nobody but the configuration can withdraw": r"""
        intermediate of (both parts, list (first|second)|the first part, list first) part, from the file
        one list: about users, from the file""",
    "an issuer's complete list is about all it has issued, wherever that says its list is (RFC 5280, 6.3.3)": r"""
        (device|intermediate) of the first part for compromise, list whole, from the file""",
}

# What OpenSSL accepts and we refuse.
STRICTER = {
    "P-256, P-384, P-521 and RSA are what authorities may sign with here; P-256 is the least for a device": r"""
        (Ed25519|P-224|brainpool|secp256k1) at the (root|(first|second) intermediate), from the file
        P-224 at the device, from the file""",
    "an authority is no device": "basic constraints not critical at the device, ANYWHERE",
    "what is critical and not understood is refused, and policies and OCSP's extension are not": r"""
        critical (OCSP no check|inhibited policy|policy|policy constraint) at the .*""",
    "constraints on directory names are not evaluated; whoever is below one is refused": r"""
        directory excluded(, not critical)? at the (root|first intermediate), (outside|without), from the file
        directory permitted(, not critical)?, a subject within, ANYWHERE
        directory excluded(, not critical)?, a subject outside, ANYWHERE""",
    "constraints on URIs are not evaluated either": r"""
        uri (permitted(, not critical)? at the .*, within|excluded(, not critical)? at the .*, outside), from the file
        an intermediate within uri, from the file""",
    "below a constraint on mail addresses, one in the subject is refused; they belong into the alternative names": r"""
        email permitted(, not critical)?, a subject of a@ok\.example, ANYWHERE
        email excluded(, not critical)?, a subject of a@bad\.example, ANYWHERE""",
    "a root has to say that it is an authority": "basic constraints none at the root, ANYWHERE",
    "names chain octet by octet": r"(issuer|root) in another (case|spaces)",
    "a self-issued authority counts in a path's length": "path length 1 above a self-issued one, ANYWHERE",
    "a root whose signature is spoilt is not the root that somebody made": "signature spoilt at the root, ANYWHERE",
    "a list withdraws whoever it names, also beside another that does not, is newer, or is about others": r"""
        (list of the .*|one list): ended, revoked, beside good, from the file
        (list of the .*|one list): (good before revoked|older revoked, newer good), from the file
        list of the root: about (users|attributes|a part), revoked, beside good, from the file
        (list of the intermediate|one list): about (authorities|attributes|a part), revoked, beside good, from the file
        indirect, (not )?told: revoked beside both, from the file
        intermediate revoked and issued again, both sent""",
    "a list that cannot be obeyed exactly is refused at start-up: a delta, and what only a delta may say": r"""
        (list of the .*|one list): delta, .*, beside good, from the file
        (list of the .*|one list): revoked for removeFromCRL, from the file
        indirect, (not )?told: named in a list that is not indirect, from the file""",
    "a signature over SHA-1 proves nothing, that of a list either, which OpenSSL's level of security leaves out": r"""
        (list of the .*|one list): with SHA-1, from the file""",
    "a list without nextUpdate is current for nobody knows how long": r"""
        (list of the .*|one list): without an end, from the file""",
    "the signer of a list stands in the file; what a device sends vouches for nobody": r"""
        list of the (root|intermediate): good, sent""",
}

# What OpenSSL, and we with it, accept, and `-x509_strict` does not: it holds authorities to RFC 5280's form.
STRICT_ALONE = {
    "authorities without key identifiers": r"""
        crossed: (ended before good|good alone|good before .*|(good|other) below both)
        twins that do not, (one|other last), the intermediate (alone|before a twin)
        twins that do not, the ended one first""",
    "authorities whose basic constraints are not critical": r"""
        basic constraints not critical at the (root|(first|second) intermediate), ANYWHERE""",
    "authorities without a key usage, and devices whose key usage is an authority's": r"""
        extended (none|client|both|any and client), usage none at the (root|first intermediate), from the file
        extended (none|client|both|any and client), usage everything at the device, from the file""",
}


def split(rows: str) -> list[re.Pattern[str]]:
    """The patterns of a row: one a line."""
    return [re.compile(line.strip().replace("ANYWHERE", ANYWHERE)) for line in rows.split("\n") if line.strip()]


def judge(chain: Chain, folder: Path, at: float) -> str:
    """ACCEPTED, or why not; as a configuration with this file and these lists would say it."""
    folder.mkdir(exist_ok=True)
    try:
        roots = read_roots(join(chain.file).encode())
        found: list[RevocationList] = []
        for number, each in enumerate(chain.lists or ()):
            path = folder / f"{number}.crl"
            path.write_bytes(each)
            found += read_crls(path, roots)
        revocations = (Revocation(found),) if chain.lists else ()
        verifier = Verifier(roots, {each.public_bytes(Encoding.DER): revocations for each in roots.anchors})
        verifier.verify([each.pem for each in (chain.device, *chain.sent)], at)
    except KeyfobError as error:
        return f"{type(error).__name__}: {error}"
    return ACCEPTED


class Verdicts:
    """What each judge says about each chain; `strict` is about those without lists that we accept."""

    def __init__(self, chains: Iterable[Chain], folder: Path) -> None:
        several = list(chains)
        self.chains = {chain.name: chain for chain in several}
        assert len(self.chains) == len(several)
        at = time.time()
        places = {name: folder / str(number) for number, name in enumerate(self.chains)}
        self.ours = {name: judge(chain, places[name], at) for name, chain in self.chains.items()}
        good = [name for name, chain in self.chains.items() if chain.lists is None and self.ours[name] == ACCEPTED]
        with ThreadPoolExecutor(4) as pool:
            theirs = pool.map(lambda name: run_verify(self.chains[name], places[name], at), self.chains)
            strict = pool.map(lambda name: run_verify(self.chains[name], places[name], at, "-x509_strict"), good)
            self.theirs = dict(zip(self.chains, theirs, strict=True))
            self.strict = dict(zip(good, strict, strict=True))

    def require_table(self, table: Mapping[str, str], found: Mapping[str, str]) -> None:
        """Every difference is in the table, and every pattern of the table is about differences alone."""
        patterns = [pattern for rows in table.values() for pattern in split(rows)]
        explained = {name for name in self.chains if any(pattern.fullmatch(name) for pattern in patterns)}
        assert {name: said for name, said in found.items() if name not in explained} == {}
        assert explained - set(found) == set()
        assert [pattern for pattern in patterns if not any(map(pattern.fullmatch, found))] == []


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> Verdicts:
    version = subprocess.run(
        [find_program("openssl", "openssl"), "version"], capture_output=True, text=True, check=False
    ).stdout
    if not version.startswith("OpenSSL 3."):
        pytest.skip(f"the tables are about OpenSSL 3, and this is {version}")
    return Verdicts([*paths.make_chains(), *lists.make_chains()], tmp_path_factory.mktemp("chains"))


def test_the_family_is_large_and_of_both_kinds(verdicts: Verdicts) -> None:
    """Or agreement would prove nothing."""
    accepted = [name for name, said in verdicts.theirs.items() if said == ACCEPTED]
    assert len(accepted) > 300
    assert len(verdicts.chains) - len(accepted) > 300


def test_what_openssl_refuses_we_refuse_but_for_the_table(verdicts: Verdicts) -> None:
    """The direction that lets somebody in."""
    found = {name: said for name, said in verdicts.theirs.items() if said != ACCEPTED == verdicts.ours[name]}
    verdicts.require_table(LOOSER, found)


def test_what_openssl_accepts_we_accept_but_for_the_table(verdicts: Verdicts) -> None:
    """The direction that keeps somebody out."""
    found = {name: said for name, said in verdicts.ours.items() if said != ACCEPTED == verdicts.theirs[name]}
    verdicts.require_table(STRICTER, found)


def test_strictness_is_about_form_alone(verdicts: Verdicts) -> None:
    """What `-x509_strict` refuses beyond the rest, and we do not."""
    found = {name: said for name, said in verdicts.strict.items() if said != ACCEPTED == verdicts.theirs[name]}
    verdicts.require_table(STRICT_ALONE, found)


HANDSHAKES = """
0 intermediates, from the file
1 intermediates, sent
3 intermediates, from the file
3 intermediates, 1 missing
3 intermediates in the wrong order
its own root alone
self-signed
issued by a device
path length 1 at the first intermediate, sent
path length 0 at the first intermediate, sent
ended: device, sent
not yet: device, sent
ended: first intermediate, sent
ended: root, sent
critical unknown at the device, from the file
harmless unknown at the device, from the file
basic constraints no authority at the second intermediate, sent
extended server, usage none at the device, from the file
extended none, usage enciphering at the device, from the file
extended server, usage none at the first intermediate, from the file
extended none, usage lists alone at the first intermediate, from the file
dns permitted at the root, within, from the file
dns permitted at the root, outside, from the file
email excluded at the first intermediate, within, from the file
ip permitted at the first intermediate, outside, from the file
twins that name their keys, other first, the intermediate after a twin
twins that name their keys, other, the intermediate alone
signature spoilt at the device, sent
signature spoilt at the second intermediate, sent
signature SHA-1 with RSA at the device, sent
RSA of 1024 bits at the device, from the file
RSA of 2048 bits at the device, from the file
Ed25519 at the device, from the file
list of the root: good, from the file
list of the root: revoked, from the file
list of the root: missing, from the file
list of the intermediate: revoked, from the file
list of the intermediate: missing, from the file
list of the intermediate: ended, from the file
list of the intermediate: not yet, from the file
list of the intermediate: by another key, from the file
list of the intermediate: of another name, by the same key, from the file
list of the intermediate: with a spoilt signature, revoked, from the file
list of the intermediate: unknown extension, critical, from the file
list of the intermediate: about authorities, from the file
""".strip().splitlines()


def test_a_handshake_says_the_same(verdicts: Verdicts, tmp_path: Path) -> None:
    """A TLS server with the same roots and lists lets in whom we let in, to the chain."""
    server = make_server(make_authority("Servers"))
    said = {}
    for number, name in enumerate(HANDSHAKES):
        said[name] = shake_hands(verdicts.chains[name], tmp_path / str(number), server)
    different = {name: (it, verdicts.ours[name]) for name, it in said.items()}
    assert {name: both for name, both in different.items() if (both[0] == ACCEPTED) != (both[1] == ACCEPTED)} == {}
    assert 10 < sum(it == ACCEPTED for it in said.values()) < len(said) - 10
