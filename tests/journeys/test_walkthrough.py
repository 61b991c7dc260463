"""The walkthrough from its first command to the first expense, with the programs it names: cfssl, openssl and curl."""

import contextlib
import json
import re
import shutil
import sqlite3
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from python_calamine import CalamineWorkbook

from certificates import DAY, SERVER, Pair, make_authority, make_leaf
from live.world import wait_for
from servers import Running, environment, find_port, find_program, keyfob, running

WALKTHROUGH = Path(__file__).parent / "walkthrough"
PASSWORD = "correct horse battery staple"  # noqa: S105 - of a file that lives as long as this test

# The first is the walkthrough's. The gate knows the second, too, but trusts another CA there, and the third not at all.
MONEY, WORK, NOWHERE = "money.example.com", "work.example.com", "nowhere.example.com"

SERVER_CSR = {"CN": MONEY, "hosts": [MONEY, WORK, NOWHERE], "key": {"algo": "ecdsa", "size": 256}}

ACCESS = f"""
[source]
kind = "tls"

[[root_certificates]]
name = "Money App Test"
certificate = "ca.pem"
associated_hostnames = ["{MONEY}"]

[[root_certificates]]
name = "Work"
certificate = "work-ca.pem"
associated_hostnames = ["{WORK}"]

[[applications]]
name = "Budget"
domain = "{MONEY}"

[[applications.policies]]
name = "My iPhone"
decision = "non_identity"
include = [{{ certificate = {{}} }}]
require = [{{ common_name = {{ common_name = "Rhea Group" }} }}]

[[applications]]
name = "Work"
domain = "{WORK}"

[[applications.policies]]
name = "Anybody at work"
decision = "non_identity"
include = [{{ certificate = {{}} }}]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The walkthrough's own commands, in its own order, in a folder with its three files."""
    for program in ("cfssl", "cfssljson"):
        find_program(program, "golang-cfssl")
    folder = tmp_path_factory.mktemp("walkthrough")
    for path in WALKTHROUGH.glob("*.json"):
        shutil.copy(path, folder)
    (folder / "server-csr.json").write_text(json.dumps(SERVER_CSR), encoding="utf-8")
    gencert = "cfssl gencert -ca=ca.pem -ca-key=ca-key.pem -config=ca-config.json"
    run(folder, "cfssl gencert -initca ca-csr.json | cfssljson -bare ca")
    run(folder, f"{gencert} -profile=client client-csr.json | cfssljson -bare iphone-client")
    run(folder, f"{gencert} -profile=server server-csr.json | cfssljson -bare server")
    run(
        folder,
        "openssl pkcs12 -export -out iphone-client.pfx -inkey iphone-client-key.pem -in iphone-client.pem"
        f" -certfile ca.pem -passout 'pass:{PASSWORD}'",
    )
    make_strangers(folder)
    (folder / "access.toml").write_text(ACCESS, encoding="utf-8")
    return folder


def run(folder: Path, command: str) -> None:
    """One line of the walkthrough, as a shell takes it."""
    subprocess.run(["bash", "-o", "pipefail", "-c", command], cwd=folder, check=True, capture_output=True, timeout=120)


def make_strangers(folder: Path) -> None:
    """Certificates that the walkthrough's commands cannot make, each one named like the phone."""
    certificate = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
    key = load_pem_private_key((folder / "ca-key.pem").read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    authority, work = Pair(certificate, key), make_authority("Work CA")
    phone = x509.load_pem_x509_certificate((folder / "iphone-client.pem").read_bytes()).subject
    work.write(folder, "work-ca")
    make_leaf(work, phone).write(folder, "work")
    make_leaf(make_authority("Another CA"), phone).write(folder, "another-ca")
    make_leaf(None, phone).write(folder, "self-signed")
    make_leaf(authority, phone, begins=-2 * DAY, ends=timedelta(minutes=-1)).write(folder, "expired")
    make_leaf(authority, phone, begins=timedelta(hours=1)).write(folder, "not-yet-valid")
    make_leaf(authority, phone, usages=[SERVER]).write(folder, "server-auth")
    make_leaf(authority, "Somebody else").write(folder, "somebody-else")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Running]:
    """The real budget app behind the real server."""
    port = find_port()
    files = ["--config", "access.toml", "--certificate", "server.pem", "--key", "server-key.pem"]
    command = keyfob("serve", "budget_app.app:app", *files, "--port", str(port))
    with running(command, port, folder, environment(KEYFOB_HOME=str(folder / "home"))) as server:
        # The port takes connections before the app has started; the first answer comes after.
        assert Budget(folder, port).curl(*PHONE).status == 200
        yield server


class Budget(NamedTuple):
    """The app as a person with curl and a spreadsheet program sees it."""

    folder: Path
    port: int

    @property
    def workbook(self) -> Path:
        return self.folder / "home" / "budget.xlsx"

    def rows(self) -> list[list[object]]:
        """Every row below the headings, by a reader that the app does not use."""
        sheet = CalamineWorkbook.from_path(self.workbook).get_sheet_by_name("Expenses")
        rows: list[list[object]] = [[*row] for row in sheet.to_python()]
        return [row for row in rows[1:] if any(row)]

    def entries(self) -> int:
        """How many entries the ledger has."""
        with contextlib.closing(sqlite3.connect(self.workbook.with_name("ledger.db"))) as ledger:
            (count,) = ledger.execute("SELECT count(*) FROM event").fetchone()
        return int(count)

    def curl(self, *arguments: str, host: str = MONEY, path: str = "/") -> "Answer":
        """The walkthrough's curl; at the end it says the status and the kind of content."""
        command = [
            find_program("curl", "curl"),
            "--silent",
            "--show-error",
            "--noproxy",
            "*",
            "--max-time",
            "20",
            "--cacert",
            "ca.pem",
        ]
        resolve = ["--resolve", f"{host}:{self.port}:127.0.0.1", "--write-out", "\n%{http_code} %{content_type}"]
        ended = subprocess.run(
            [*command, *resolve, *arguments, f"https://{host}:{self.port}{path}"],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        body, _, last = ended.stdout.rpartition("\n")
        status, _, kind = last.partition(" ")
        return Answer(ended.returncode, int(status), kind, body, ended.stderr)


class Answer(NamedTuple):
    """How curl ended, and what it got: status 0 where no answer came."""

    exit: int
    status: int
    kind: str
    body: str
    complaint: str


@pytest.fixture
def budget(folder: Path, server: Running) -> Budget:
    return Budget(folder, server.port)


PHONE = ("--cert", "iphone-client.pem", "--key", "iphone-client-key.pem")
BREAD = {"amount": "4,50", "category": "Groceries", "date": "2025-11-23", "note": "=bread & butter"}


def form(**fields: str) -> list[str]:
    """An expense for curl to post."""
    fields = BREAD | {"id": str(uuid.uuid4())} | fields
    return [word for name, value in fields.items() for word in ("--data-urlencode", f"{name}={value}")]


class TestThroughTheDoor:
    """One command to start, one certificate to get in, one row at the end."""

    def test_the_certificate_has_the_walkthroughs_empty_name(self, folder: Path) -> None:
        """`"hosts": [""]` becomes a dNSName without a letter, which stricter readers refuse."""
        phone = x509.load_pem_x509_certificate((folder / "iphone-client.pem").read_bytes())
        names = phone.extensions.get_extension_for_class(x509.SubjectAlternativeName).value

        assert names.get_values_for_type(x509.DNSName) == [""]
        assert phone.subject.rfc4514_string() == (
            "CN=Rhea Group,OU=Sam Projects,O=Money App Test,L=Lisboa,ST=Lisboa,C=PT"
        )

    @pytest.mark.parametrize(
        "identity",
        [PHONE, ("--cert", f"iphone-client.pfx:{PASSWORD}", "--cert-type", "P12")],
        ids=["PEM pair", "pfx"],
    )
    @pytest.mark.parametrize("version", ["1.2", "1.3"])
    def test_the_first_expense_is_a_row(self, budget: Budget, identity: Sequence[str], version: str) -> None:
        """Soon after the answer it is in the workbook: a real date, a real number, text that stays text, and the id."""
        before = budget.rows()
        entry_id = str(uuid.uuid4())

        answer = budget.curl(*identity, "--tls-max", version, *form(id=entry_id))

        assert (answer.exit, answer.status) == (0, 303)
        wait_for(lambda: len(budget.rows()) > len(before))
        row = [date(2025, 11, 23), 4.5, "Groceries", "=bread & butter", "Rhea Group", entry_id]
        assert budget.rows() == [*before, row]

    def test_the_page_names_the_device_and_shows_the_row(self, budget: Budget) -> None:
        """`--location` follows the redirect, as a browser does."""
        budget.curl(*PHONE, *form(note="Shown on the page"))

        answer = budget.curl(*PHONE)

        assert (answer.exit, answer.status, answer.kind) == (0, 200, "text/html; charset=utf-8")
        assert "Rhea Group" in answer.body
        assert "Shown on the page" in answer.body

    def test_the_other_host_has_its_own_devices(self, budget: Budget) -> None:
        """What is refused below is refused for its CA alone: the same door opens to the right one."""
        answer = budget.curl("--cert", "work.pem", "--key", "work-key.pem", host=WORK)

        assert (answer.exit, answer.status) == (0, 200)


def pair(name: str) -> tuple[str, ...]:
    return ("--cert", f"{name}.pem", "--key", f"{name}-key.pem")


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize(
    ("name", "detail"),
    [
        ("another-ca", "unable to get local issuer certificate"),
        ("self-signed", "self-signed certificate"),
        ("expired", "certificate has expired"),
        ("not-yet-valid", "certificate is not yet valid"),
        ("server-auth", "unsuitable certificate purpose"),
        # cfssl's CA may sign certificates and revocations, and nothing else.
        ("ca", "unsuitable certificate purpose"),
    ],
)
def test_openssl_ends_the_handshake(budget: Budget, server: Running, name: str, detail: str, version: str) -> None:
    """No request ever reaches the gate, nothing is written, the client is told why, and the audit log has one line.

    curl calls it 35 or 60 while it shakes hands (TLS 1.2), and 56 when it waits for the answer (TLS 1.3).
    """
    before, said = budget.entries(), len(server.said())

    answer = budget.curl(*pair(name), "--tls-max", version, *form())

    assert answer.exit in ({35, 60} if version == "1.2" else {56})
    assert re.search(r"alert [a-z ]+|certificate verification failed", answer.complaint)
    assert (answer.status, answer.body) == (0, "")
    assert budget.entries() == before
    [record] = audit(server, said)
    assert (record["reason"], record["detail"]) == ("handshake-refused", detail)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize(
    ("identity", "host", "status", "reason"),
    [
        pytest.param((), MONEY, 401, "certificate-missing", id="no certificate"),
        pytest.param(pair("somebody-else"), MONEY, 403, "no-matching-policy", id="another name"),
        pytest.param(pair("work"), MONEY, 403, "certificate-untrusted", id="of another host's CA"),
        pytest.param(PHONE, WORK, 403, "certificate-untrusted", id="for a host of another CA"),
        pytest.param(PHONE, NOWHERE, 403, "host-unknown", id="for a host that nobody knows"),
    ],
)
def test_the_gate_answers(
    budget: Budget,
    server: Running,
    identity: tuple[str, ...],
    host: str,
    status: int,
    reason: str,
    version: str,
) -> None:
    """What only the gate can know; the app is not called, and client and audit log share a request id."""
    before, said = budget.entries(), len(server.said())

    answer = budget.curl(*identity, "--tls-max", version, *form(), host=host)

    assert (answer.exit, answer.status, answer.kind) == (0, status, "application/problem+json")
    problem = json.loads(answer.body)
    assert (problem["type"], problem["status"]) == (f"urn:keyfob:{reason}", status)
    assert budget.entries() == before
    [record] = audit(server, said)
    assert (record["reason"], record["request_id"]) == (reason, problem["request_id"])
    assert (record["host"], record["method"], record["address"]) == (host, "POST", "127.0.0.1")


@pytest.mark.parametrize(
    "header",
    [
        "Origin: https://evil.example",
        f"Origin: https://{WORK}",
        f"Origin: http://{MONEY}",
        "Origin: null",
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Site: same-site",
    ],
)
def test_the_app_refuses_a_form_from_another_origin(budget: Budget, header: str) -> None:
    """The right certificate comes along with it, as browsers do; neither handshake nor gate can tell."""
    before = budget.entries()

    answer = budget.curl(*PHONE, "--header", header, *form())

    assert (answer.exit, answer.status) == (0, 400)
    assert "nothing was written" in answer.body
    assert budget.entries() == before


def audit(server: Running, since: int) -> list[dict[str, object]]:
    """The records that the server's log got after its first `since` characters."""
    lines = server.said()[since:].splitlines()
    return [json.loads(line.partition(": ")[2]) for line in lines if " keyfob.audit: " in line]
