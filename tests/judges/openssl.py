"""OpenSSL as a judge: its `verify` program, and its server in a handshake. Independent of `keyfob`."""

import ssl
import subprocess
from collections.abc import Sequence
from pathlib import Path

from certificates import Pair
from judges.chains import Chain
from revocations import write_pem

ACCEPTED = "accepted"
# Level 2 is what Debian's servers ask for: 112 bits, which leaves out RSA of 1024 bits and SHA-1.
LEVEL = 2


def join(pairs: Sequence[Pair]) -> str:
    return "".join(each.pem for each in pairs)


def run_verify(chain: Chain, folder: Path, at: float, *options: str) -> str:
    """What `openssl verify` says: ACCEPTED, or its first error. `folder` is for this chain alone."""
    folder.mkdir(exist_ok=True)
    (folder / "roots.pem").write_text(join(chain.roots))
    (folder / "others.pem").write_text(join((*chain.beside, *chain.sent)))
    (folder / "device.pem").write_text(chain.device.pem)
    command = ["openssl", "verify", "-purpose", "sslclient", "-auth_level", str(LEVEL), "-attime", str(int(at))]
    command += ["-no-CApath", "-no-CAstore", "-CAfile", "roots.pem"]
    if chain.beside or chain.sent:
        command += ["-untrusted", "others.pem"]
    if chain.lists is not None:
        (folder / "lists.pem").write_bytes(write_pem(*chain.lists))
        command += ["-crl_check_all", "-extended_crl", "-CRLfile", "lists.pem"]
    done = subprocess.run([*command, *options, "device.pem"], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return ACCEPTED
    errors = [line for line in (done.stderr + done.stdout).splitlines() if line.startswith("error ")]
    if not errors:
        raise RuntimeError(f"openssl could not judge {chain.name}: {done.stderr}")
    return errors[0]


def shake_hands(chain: Chain, folder: Path, server: Pair) -> str:
    """What a TLS server says to the device: ACCEPTED, or why not. Both ends are in memory."""
    folder.mkdir(exist_ok=True)
    inside, outside = _make_server(chain, folder, server), _make_client(chain, folder)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    near = inside.wrap_bio(to_server, to_client, server_side=True)
    far = outside.wrap_bio(to_client, to_server)
    waiting = [far, near]
    for _ in range(20):
        for end in tuple(waiting):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError as error:
                if end is far:
                    raise
                return f"{getattr(error, 'verify_message', '') or error.reason}"
            waiting.remove(end)
        if not waiting:
            return ACCEPTED if near.getpeercert(binary_form=True) else "no certificate"
    raise RuntimeError(f"the handshake of {chain.name} does not end")


def _make_server(chain: Chain, folder: Path, server: Pair) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers(f"DEFAULT@SECLEVEL={LEVEL}")
    context.load_cert_chain(*server.write(folder, "server"))
    context.load_verify_locations(cadata=join(chain.file))
    context.verify_mode = ssl.CERT_OPTIONAL
    if chain.lists:
        (folder / "lists.pem").write_bytes(write_pem(*chain.lists))
        context.load_verify_locations(folder / "lists.pem")
    if chain.lists is not None:
        context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_CHAIN
    return context


def _make_client(chain: Chain, folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(*chain.device.write(folder, "client", above=chain.sent))
    return context
