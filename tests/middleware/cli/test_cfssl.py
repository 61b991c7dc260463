"""cli.cfssl: the walkthrough's own commands, and how they fail."""

import json
import shlex
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID

from certificates import make_authority, make_leaf
from exchanges import ask, make_scope
from judges.cfssl import Ended, run_ours
from keyfob import AccessMiddleware
from keyfob.cli.cfssl import _REFUSED_COMMANDS, cfssl_command
from keyfob.cli.goflags import _REFUSED_FLAGS
from servers import environment, keyfob

CA_CSR = {
    "CN": "Money App Test",
    "key": {"algo": "rsa", "size": 4096},
    "names": [{"C": "PT", "L": "Lisbon", "O": "Money App Test", "OU": "Root"}],
}
CA_CONFIG = {
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
CLIENT_CSR = {
    "CN": "Rhea Group",
    "hosts": [""],
    "key": {"algo": "rsa", "size": 2048},
    "names": [{"C": "PT", "L": "Lisbon", "O": "Money App Test", "OU": "Phones"}],
}
MAKE_CA = "cfssl genkey -initca ca-csr.json | cfssljson -bare ca"
MAKE_CLIENT = (
    "cfssl gencert -ca=ca.pem -ca-key=ca-key.pem -config=ca-config.json -profile=client client-csr.json"
    " | cfssljson -bare iphone-client"
)
FILES = {f"{name}{ending}" for name in ("ca", "iphone-client") for ending in (".pem", "-key.pem", ".csr")}
SMALL = {**CLIENT_CSR, "key": {"algo": "ecdsa", "size": 256}, "hosts": []}


def write(folder: Path, **documents: object) -> None:
    """Writes `ca_csr` as ca-csr.json, and so on."""
    for name, document in documents.items():
        (folder / f"{name.replace('_', '-')}.json").write_text(json.dumps(document))


def pipe(folder: Path, line: str) -> Ended:
    """Runs a line of the walkthrough, with `keyfob` before each of its commands, in a shell."""
    program = " ".join(map(shlex.quote, keyfob()))
    script = line.replace("cfssljson ", "CFSSLJSON ").replace("cfssl ", f"{program} cfssl ")
    done = subprocess.run(
        ["sh", "-c", script.replace("CFSSLJSON ", f"{program} cfssljson ")],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=environment(),
    )
    return Ended(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder after the walkthrough's two commands, and what they said."""
    folder = tmp_path_factory.mktemp("walkthrough")
    write(folder, ca_csr=CA_CSR, ca_config=CA_CONFIG, client_csr=CLIENT_CSR)
    ended = [pipe(folder, line) for line in (MAKE_CA, MAKE_CLIENT)]
    assert [each.status for each in ended] == [0, 0], ended
    return folder, "".join(each.stdout + each.stderr for each in ended)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority on P-256 and the files of a device."""
    folder = tmp_path_factory.mktemp("authority")
    make_authority("Money App Test").write(folder, "ca")
    write(folder, ca_config=CA_CONFIG, csr=SMALL)
    return folder


def refuse(ended: Ended, status: int = 1) -> str:
    """The error of a command that has to have failed with `status`, in the house's form."""
    assert (ended.status, ended.stdout) == (status, ""), ended
    lines = [line for line in ended.stderr.splitlines() if not line.startswith("warning: ")]
    assert [line.partition(": ")[0] for line in lines] == ["error", "hint"], ended.stderr
    return "\n".join(lines)


# --- The walkthrough ------------------------------------------------------------------------------------------------


def test_the_walkthroughs_commands_write_its_files(walked: tuple[Path, str]) -> None:
    """The same names as cfssl's, and keys for their owner alone."""
    folder, _ = walked
    assert {path.name for path in folder.iterdir() if path.suffix != ".json"} == FILES
    for path in folder.glob("*-key.pem"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for name in ("ca", "iphone-client"):
        certificate = x509.load_pem_x509_certificate((folder / f"{name}.pem").read_bytes())
        key = load_pem_private_key((folder / f"{name}-key.pem").read_bytes(), None)
        assert certificate.public_key() == key.public_key()


def test_the_walkthroughs_device_opens_the_gate(walked: tuple[Path, str]) -> None:
    """Its certificate gets in with its authority as the only root, and one of another authority does not."""
    folder, _ = walked
    seen: list[str] = []

    async def app(scope: Mapping[str, object], receive: object, send: object) -> None:
        state = scope["state"]
        assert isinstance(state, dict)
        seen.append(state["client_certificate"].common_name)
        await send({"type": "http.response.start", "status": 200, "headers": []})  # type: ignore[operator]
        await send({"type": "http.response.body"})  # type: ignore[operator]

    device, ca = ((folder / f"{name}.pem").read_text() for name in ("iphone-client", "ca"))
    door = AccessMiddleware(app, roots=folder / "ca.pem")
    assert ask(door, make_scope([device])).status == 200
    for stranger in (ca, make_leaf(make_authority("Money App Test"), "Rhea Group").pem):
        assert ask(door, make_scope([stranger])).status != 200
    assert seen == ["Rhea Group"]


def test_the_walkthroughs_oddities_are_said_aloud(walked: tuple[Path, str]) -> None:
    """An empty host gives no alternative name, and a usage that is none is passed over where it is used."""
    folder, said = walked
    device = x509.load_pem_x509_certificate((folder / "iphone-client.pem").read_bytes())
    with pytest.raises(x509.ExtensionNotFound):
        device.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert said == (
        "warning: client-csr.json: hosts[0]: is empty, and left out: cfssl would make an empty host name of it\n"
    )
    words = "gencert -ca=ca.pem -ca-key=ca-key.pem -config=ca-config.json -profile=server"
    ended = run_ours(folder, f"cfssl {words} -hostname=localhost client-csr.json")
    assert "server.usages: 'digital signing' is no usage, and passed over" in ended.stderr
    made = x509.load_pem_x509_certificate(ended.answer["cert"].encode())
    usage = made.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert usage.key_encipherment
    purposes = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(purposes) == [ExtendedKeyUsageOID.SERVER_AUTH]


def test_a_walkthrough_walked_twice_keeps_its_keys(walked: tuple[Path, str]) -> None:
    """The second authority is refused, and the first one stands as it did, with all of its files."""
    folder, _ = walked
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    ended = pipe(folder, MAKE_CLIENT)
    assert ended.status == 1
    assert "iphone-client.pem exists and is never written over\nhint: move it away first\n" in ended.stderr
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_certificate_alone_replaces_the_one_before(authority: Path, tmp_path: Path) -> None:
    """Without a key in the answer nothing can be lost: a certificate may be signed again."""
    for content in ("first", "second"):
        assert run_ours(tmp_path, "cfssljson -bare x", json.dumps({"cert": content})).status == 0
    assert (tmp_path / "x.pem").read_text() == "second"
    refuse(run_ours(tmp_path, "cfssljson -bare x", json.dumps({"cert": "third", "key": "k"})))
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"x.pem": "second"}


def test_a_failed_command_before_the_pipe_leaves_nothing(tmp_path: Path) -> None:
    """`cfssljson` says that nothing has come, and writes nothing."""
    ended = pipe(tmp_path, "cfssl genkey -initca none.json | cfssljson -bare ca")
    assert ended.status == 1
    assert "error: none.json cannot be read: No such file or directory" in ended.stderr
    assert "error: stdin: is empty\nhint: if it comes through a pipe: the command before it has failed" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert list(tmp_path.iterdir()) == []


# --- Files and keys -------------------------------------------------------------------------------------------------


def test_files_come_from_stdin_and_the_environment(authority: Path) -> None:
    """`-` is stdin, `env:NAME` a variable, and `file:NAME` a file."""
    words = "cfssl gencert -ca=file:ca.pem -ca-key=env:CA_KEY -config=ca-config.json -profile=client -"
    key = (authority / "ca-key.pem").read_text()
    ended = run_ours(authority, words, json.dumps(SMALL), {"CA_KEY": key})
    assert list(ended.answer) == ["cert", "csr", "key"]
    assert refuse(run_ours(authority, words, json.dumps(SMALL))).startswith("error: the environment has no 'CA_KEY'")


def test_an_encrypted_key_takes_its_passphrase_from_the_environment(authority: Path, tmp_path: Path) -> None:
    """As cfssl does it; a passphrase is never an argument, and stands in no message."""
    key = load_pem_private_key((authority / "ca-key.pem").read_bytes(), None)
    locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"open sesame"))
    (tmp_path / "key.pem").write_bytes(locked)
    words = f"cfssl gencert -ca={authority}/ca.pem -ca-key=key.pem {authority}/csr.json"
    for name in ("CFSSL_CA_PK_PASSWORD", "KEYFOB_PASSPHRASE"):
        assert run_ours(tmp_path, words, environment={name: "open sesame"}).answer
    assert "nobody said its passphrase" in refuse(run_ours(tmp_path, words))
    wrong = run_ours(tmp_path, words, environment={"CFSSL_CA_PK_PASSWORD": "swordfish"})
    assert "cannot be read as a key" in refuse(wrong)
    assert "swordfish" not in wrong.stderr


def test_no_key_is_shown_on_stderr(authority: Path, tmp_path: Path) -> None:
    """Keys go where they are asked for, and nowhere else."""
    for words in (f"-loglevel=0 -ca={authority}/ca.pem -ca-key={authority}/ca-key.pem {authority}/csr.json",):
        assert "PRIVATE" not in run_ours(tmp_path, f"cfssl gencert {words}").stderr
    ended = run_ours(
        tmp_path, f"cfssl gencert -ca {authority}/ca-key.pem -ca-key {authority}/ca.pem {authority}/csr.json"
    )
    assert "PRIVATE" not in refuse(ended)


def test_warnings_are_silent_above_their_level(authority: Path) -> None:
    """`-loglevel=3` is for errors alone, as cfssl counts."""
    words = "cfssl genkey -loglevel=%d -"
    asked = json.dumps({"CN": "x", "hosts": [""]})
    assert run_ours(authority, words % 2, asked).stderr.startswith("warning: stdin: hosts[0]: is empty")
    assert run_ours(authority, words % 3, asked).stderr == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("gencert csr.json", "-ca is missing"),
        ("gencert -ca ca.pem -ca-key ca-key.pem", "Missing argument CSRJSON"),
        ("gencert -renewca -ca ca.pem -ca-key ca-key.pem csr.json", "-renewca takes -ca and -ca-key alone"),
        ("genkey", "Missing argument 'CSRJSON'"),
        ("genkey csr.json csr.json", "Got unexpected extra argument"),
        ("genkey -config", "-config needs a value"),
        ("genkey -loglevel=9 csr.json", "Invalid value for '--loglevel'"),
        ("gencsr csr.json", "-key is missing"),
        ("gencsr -key ca-key.pem", "give either CSRJSON or -cert"),
        ("gencsr -key ca-key.pem -cert ca.pem csr.json", "give either CSRJSON or -cert"),
        ("sign -ca ca.pem -ca-key ca-key.pem", "give one CSR"),
        ("sign -ca ca.pem -ca-key ca-key.pem a b c", "give one CSR"),
        ("selfsign csr.json", "give HOSTNAME and CSRJSON"),
        ("certinfo", "give either -cert or -csr"),
        ("certinfo -cert ca.pem -csr ca.pem", "give either -cert or -csr"),
        ("gencrl - ca.pem -", "only one of the files can be stdin"),
        ("nothing", "No such command 'nothing'"),
    ],
)
def test_a_wrong_use_is_refused(words: str, said: str, authority: Path) -> None:
    """Status 2, and a hint where the help is."""
    assert said in refuse(run_ours(authority, f"cfssl {words}"), status=2)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("gencert -renewca -ca leaf.pem -ca-key leaf-key.pem", "leaf.pem is no authority"),
        ("genkey -config leaf.pem csr.json", "leaf.pem: line 1 is no JSON"),
        ("gencsr -key leaf.pem csr.json", "cannot be read as a key"),
        ("certinfo -cert csr.json", "csr.json cannot be read as a certificate"),
        ("certinfo -cert both.pem", "both.pem holds 2 certificates"),
        ("certinfo -csr leaf.pem", "leaf.pem cannot be read as a CSR"),
        ("certinfo -cert .", "cannot be read: Is a directory"),
        ("gencrl csr.json leaf.pem leaf-key.pem", "is no serial number"),
        ("gencrl none leaf.pem leaf-key.pem", "none cannot be read"),
        ("gencrl serials ca.pem leaf-key.pem", "do not belong together"),
        ("gencrl serials ca.pem ca-key.pem soon", "'soon' is no number of seconds"),
        ("genkey large.json", "has more than 1048576 bytes"),
    ],
)
def test_a_wrong_file_is_refused(words: str, said: str, authority: Path, tmp_path: Path) -> None:
    """Status 1, and nothing on stdout."""
    write(tmp_path, ca_csr=CA_CSR, csr=SMALL)
    make_authority("Money App Test").write(tmp_path, "ca")
    made = run_ours(authority, "cfssl gencert -ca ca.pem -ca-key ca-key.pem csr.json").answer
    (tmp_path / "leaf.pem").write_text(made["cert"])
    (tmp_path / "leaf-key.pem").write_text(made["key"])
    (tmp_path / "both.pem").write_text(made["cert"] * 2)
    (tmp_path / "serials").write_text("1\n")
    (tmp_path / "large.json").write_text(" " * (1 << 20) + "{}")
    assert said in refuse(run_ours(tmp_path, f"cfssl {words}"))


@pytest.mark.parametrize("flag", sorted(_REFUSED_FLAGS))
def test_flags_of_a_server_are_refused_by_name(flag: str, authority: Path) -> None:
    """Whoever gives one is told what to do instead."""
    assert f"-{flag} is a flag of cfssl's that is not obeyed here" in refuse(
        run_ours(authority, f"cfssl sign -{flag}=x csr.json")
    )


@pytest.mark.parametrize("command", sorted(_REFUSED_COMMANDS))
def test_commands_that_are_not_spoken_are_refused_by_name(command: str, authority: Path) -> None:
    """Each with what does the same here, if anything does."""
    assert f"cfssl's `{command}` is not spoken here" in refuse(run_ours(authority, f"cfssl {command}"))


@pytest.mark.parametrize("flag", ["-h", "-help", "--help"])
@pytest.mark.parametrize("command", [*(f"cfssl {name}" for name in cfssl_command.commands), "cfssljson"])
def test_every_command_has_a_help(command: str, flag: str, tmp_path: Path) -> None:
    """On stdout, whichever way it is asked for; `-hostname` is no `-h`."""
    ended = run_ours(tmp_path, f"{command} {flag}")
    assert (ended.status, ended.stderr) == (0, "")
    assert ended.stdout.startswith(f"Usage: keyfob {command} [OPTIONS]")


def test_the_commands_are_these() -> None:
    """What the walkthrough and its neighbours need."""
    assert list(cfssl_command.commands) == ["genkey", "gencert", "gencsr", "sign", "selfsign", "certinfo", "gencrl"]


def test_the_names_of_files_may_lead_elsewhere_but_not_nowhere(tmp_path: Path) -> None:
    """A folder in the name is used; it is not made, and a name that ends with a slash is none."""
    answer = json.dumps({"cert": "c"})
    (tmp_path / "there").mkdir()
    assert run_ours(tmp_path, "cfssljson -bare there/ca", answer).status == 0
    assert (tmp_path / "there" / "ca.pem").read_text() == "c"
    assert "none cannot be written: No such file or directory" in refuse(
        run_ours(tmp_path, "cfssljson -bare none/ca", answer)
    )
    for name in ("..", "there/", "/"):
        assert "is no name for files" in refuse(run_ours(tmp_path, f"cfssljson -bare {name}", answer))


def test_a_closed_stdout_is_no_traceback(authority: Path) -> None:
    """Whoever reads the pipe may go."""
    ended = pipe(authority, "cfssl certinfo -cert ca.pem | true")
    assert "Traceback" not in ended.stderr


def test_a_key_in_a_file_may_have_its_parameters_before_it(authority: Path, tmp_path: Path) -> None:
    """As `openssl ecparam -genkey` writes it."""
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
    parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    (tmp_path / "key.pem").write_text(parameters + pem)
    ended = run_ours(tmp_path, f"cfssl gencsr -key key.pem {authority}/csr.json")
    assert x509.load_pem_x509_csr(ended.answer["csr"].encode()).public_key() == key.public_key()


def test_cfssljson_starts_without_the_server() -> None:
    """A pipe waits for both of its commands."""
    heavy = {"uvicorn", "sqlalchemy", "starlette"}
    script = f"import sys, keyfob.cli.cfssljson, keyfob.cli.cfssl; print(*sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
