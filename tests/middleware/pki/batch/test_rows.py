"""pki.batch.rows and claims: which rows are understood, and what is said of the others."""

import base64
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key
from cryptography.x509.oid import NameOID

from keyfob.errors import PKIError
from keyfob.pki.authority import Authority, DeviceRequest
from keyfob.pki.batch.claims import Claims
from keyfob.pki.batch.rows import MOST_FAULTS, Fault, Faults, Reader, Wish

AUTHORITY = Authority.create("keyfob CA", days=800)
DAYS = 100
ALL = "name,email,dns,uri,organization,unit,key,days,csr"


def make_csr(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey, name: str = "Somebody Else") -> bytes:
    """A CSR that asks for a name nobody is to have."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    hashing = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashing).public_bytes(Encoding.PEM)


KEY = ec.generate_private_key(ec.SECP256R1())
CSR = make_csr(KEY)


def read(folder: Path, content: str | bytes) -> tuple[list[Wish], list[Fault]]:
    """What a file with this content asks for, and what is wrong with it."""
    source = folder / "devices.csv"
    source.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    faults = Faults()
    with Claims() as claims:
        wishes = list(Reader(source, AUTHORITY, "p256", DAYS).read(faults))
        claims.add(wishes)
        claims.find_doubles(faults)
    return wishes, faults.listed


def find_reason(folder: Path, content: str | bytes) -> str:
    """Of the only fault."""
    _, [fault] = read(folder, content)
    return fault.reason


# --- What is understood ---------------------------------------------------------------------------------------------


def test_every_column_says_something_about_its_device(tmp_path: Path) -> None:
    """Several values of a cell stand between spaces or semicolons; what is empty is left to the command."""
    row = "Phone,a@example.com b@example.com,a.example;b.example,urn:a https://example.com/x,Money,App,rsa2048,30,"
    [first, second], faults = read(tmp_path, f"{ALL}\n{row}\nLaptop,,,,,,,,\n")
    assert not faults
    emails, dns = ("a@example.com", "b@example.com"), ("a.example", "b.example")
    request = DeviceRequest("Phone", 30, "Money", "App", emails, dns, ("urn:a", "https://example.com/x"))
    assert first == Wish(2, request, "rsa2048", "")
    assert second == Wish(3, DeviceRequest("Laptop", DAYS), "p256", "")


@pytest.mark.parametrize(
    "content",
    [
        "name,unit\nRhéa's 📱,Ärzte\n".encode(),
        "\ufeffname,unit\nRhéa's 📱,Ärzte\n".encode(),
        "name,unit\r\nRhéa's 📱,Ärzte\r\n".encode(),
        "name;unit\r\nRhéa's 📱;Ärzte\r\n".encode(),
        "name\tunit\nRhéa's 📱\tÄrzte".encode(),
        'unit,"name"\nÄrzte,"Rhéa\'s 📱"\n'.encode(),
        " Name , UNIT \nRhéa's 📱,Ärzte\n".encode(),
        "\n\nname,unit\n\n,\nRhéa's 📱,Ärzte\n,\n\n".encode(),
    ],
    ids=["plain", "BOM", "CRLF", "semicolons", "tabs", "quoted", "capitals", "empty rows"],
)
def test_whatever_a_spreadsheet_writes_is_read(tmp_path: Path, content: bytes) -> None:
    """The same two cells in every dress."""
    [wish], faults = read(tmp_path, content)
    assert not faults
    assert wish.request == DeviceRequest("Rhéa's 📱", DAYS, unit="Ärzte")


def test_a_row_is_known_by_the_line_on_which_it_begins(tmp_path: Path) -> None:
    """Quoted cells have lines of their own, and empty lines count."""
    pem = CSR.decode("ascii")
    wishes, faults = read(tmp_path, f'name,csr\n\nA,"{pem}"\nB,\n../C,\n')
    assert [wish.line for wish in wishes] == [3, 4 + pem.count("\n")]
    assert [fault.line for fault in faults] == [5 + pem.count("\n")]


@pytest.mark.parametrize("cell", ["here/device.csr", '"' + CSR.decode("ascii") + '"'], ids=["file", "PEM"])
def test_a_csr_brings_its_key_and_nothing_else(tmp_path: Path, cell: str) -> None:
    """Its path is relative to the CSV file. The name that it asks for is not the one it gets."""
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "device.csr").write_bytes(CSR)
    [wish], faults = read(tmp_path, f"name,csr\nPhone,{cell}\n")
    assert not faults
    assert (wish.request, wish.kind) == (DeviceRequest("Phone", DAYS), "")
    assert load_der_public_key(base64.b64decode(wish.public_key)) == KEY.public_key()


# --- What is wrong with the file ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message", "hint"),
    [
        (b"", "is empty", "its first line names the columns"),
        (b"\n\n", "is empty", "its first line names the columns"),
        (b"name,mail\n", "a column 'mail'", "did you mean 'email'?"),
        (b"nmae\nx\n", "a column 'nmae'", "did you mean 'name'?"),
        (b"name,shoe size\n", "a column 'shoe size'", "there are name, email"),
        (b"name,\n", "column without a name", "there are name, email"),
        (b"name,unit,Name\n", "two columns 'name'", "leave one of them out"),
        (b"email,days\n", "no column 'name'", "its first line names the columns"),
        (b"Rhea's iPhone,,\nx,,\n", "column", "there are name, email"),
        ("name\nx\n".encode("utf-16"), "UTF-16", "CSV UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(tmp_path: Path, content: bytes, message: str, hint: str) -> None:
    """Nothing is guessed: a column that nobody knows might say who gets in."""
    with pytest.raises(PKIError) as raised:
        read(tmp_path, content)
    assert message in raised.value.message
    assert hint in raised.value.hint


def test_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    """And so does a folder."""
    for path in (tmp_path / "missing.csv", tmp_path):
        with pytest.raises(PKIError) as raised:
            list(Reader(path, AUTHORITY, "p256", DAYS).read(Faults()))
        assert raised.value.hint


# --- What is wrong with a row ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (",,,,,,,30,", "a device needs a name"),
        ("../x,,,,,,,,", "has a '/' in it"),
        ("x\u202ey,,,,,,,,", "U+202E"),
        ("x" * 10_000 + ",,,,,,,,", "is longer than 64"),
        (" x,,,,,,,,", "is not what it looks like"),
        (".x,,,,,,,,", "begins with '.'"),
        ("x-key,,,,,,,,", "ends with '-key'"),
        ("x,nobody,,,,,,,", "is no e-mail address"),
        ('x,"a@example.com,b@example.com",,,,,,,', "a comma"),
        ("x,,ä.example,,,,,,", "is no DNS name"),
        ("x,,,no uri,,,,,", "is no URI"),
        ("x,,,," + "y" * 65 + ",,,,", "organization"),
        ("x,,,,,a\u200bb,,,", "cannot be seen"),
        ("x,,,,,,p255,,", "did you mean 'p256'?"),
        ("x,,,,,,ed25519,,", "'ed25519' is no kind of key"),
        ("x,,,,,,,soon,", "'soon' is no number of days"),
        ("x,,,,,,,-1,", "'-1' is no number of days"),
        ("x,,,,,,,٣,", "is no number of days"),
        ("x,,,,,,,0,", "0 days are no lifetime"),
        ("x,,,,,,,40000,", "40000 days are no lifetime"),
        ("x,,,,,,,900,", "before a certificate of 900 days would"),
        ("x,,,,,,p256,,x.csr", "a CSR brings one"),
        ("x,,,,,,,,missing.csr", "missing.csr cannot be read"),
        ("x,,,,,,,,devices.csv", "cannot be read as a signing request"),
        ("x,,,,,,,,.", "cannot be read"),
        ("x,,,,,,,,-----BEGIN", "cannot be read as a signing request"),
        ("x,,,", "the row has 4 cells, and the first line has 9"),
        ("x,,,,,,,,,", "the row has 10 cells, and the first line has 9"),
    ],
)
def test_a_row_that_cannot_be_used_says_why(tmp_path: Path, row: str, reason: str) -> None:
    """With its line; what stands around it is read all the same."""
    wishes, [fault] = read(tmp_path, f"{ALL}\nbefore,,,,,,,,\n{row}\nbehind,,,,,,,,\n")
    assert fault.line == 3
    assert reason in fault.reason
    assert [wish.request.name for wish in wishes] == ["before", "behind"]


def test_a_csr_that_is_not_signed_by_its_own_key_is_refused(tmp_path: Path) -> None:
    """Whoever cannot sign with a key shall have no certificate for it."""
    forged = x509.load_pem_x509_csr(CSR).public_bytes(Encoding.DER)
    changed = base64.encodebytes(forged.replace(b"Somebody Else", b"Somebody Elze")).decode("ascii")
    text = f"-----BEGIN CERTIFICATE REQUEST-----\n{changed}-----END CERTIFICATE REQUEST-----\n"
    assert "is not by its own key" in find_reason(tmp_path, f'name,csr\nx,"{text}"\n')


def test_a_csr_with_a_key_of_a_kind_that_phones_do_not_know_is_refused(tmp_path: Path) -> None:
    """Ed25519, for one."""
    text = make_csr(ed25519.Ed25519PrivateKey.generate()).decode("ascii")
    assert "a key that is not used here" in find_reason(tmp_path, f'name,csr\nx,"{text}"\n')


def test_what_is_no_utf8_is_said_for_its_row(tmp_path: Path) -> None:
    """Spreadsheets write Latin-1 when nobody stops them."""
    assert "the unit is not written in UTF-8" in find_reason(tmp_path, b"name,unit\na,b\nc,\xe4rzte\n")
    assert "the name is not written in UTF-8" in find_reason(tmp_path, b"name,unit\na,b\nRh\xe9a,\n")


@pytest.mark.parametrize("content", ['name\na\n"b\nc\nd\n', 'name\na\n"b"c\nd\n'])
def test_wrong_quotes_end_the_file_where_they_are(tmp_path: Path, content: str) -> None:
    """Nobody knows where the next row would begin, so none is made up."""
    wishes, [fault] = read(tmp_path, content)
    assert [wish.request.name for wish in wishes] == ["a"]
    assert fault.line == 3
    assert "nothing behind it was" in fault.reason


def test_a_name_that_is_there_twice_is_said_with_both_lines(tmp_path: Path) -> None:
    """For every one but the first."""
    _, faults = read(tmp_path, "name\na\nb\na\nc\na\n")
    assert [(fault.line, fault.name, fault.reason) for fault in faults] == [
        (4, "a", "the name is on line 2 already"),
        (6, "a", "the name is on line 2 already"),
    ]


def test_names_that_differ_in_their_case_are_two_names(tmp_path: Path) -> None:
    """As they are for whoever compares them."""
    wishes, faults = read(tmp_path, "name\na\nA\n")
    assert not faults
    assert len(wishes) == 2


def test_a_key_that_is_there_twice_is_said_with_both_lines(tmp_path: Path) -> None:
    """It could not be withdrawn for one device alone."""
    (tmp_path / "x.csr").write_bytes(CSR)
    (tmp_path / "y.csr").write_bytes(make_csr(KEY, "y"))
    [fault] = read(tmp_path, "name,csr\na,x.csr\nb,\nc,y.csr\n")[1]
    assert fault.line == 4
    assert "line 2" in fault.reason


def test_faults_are_counted_and_the_first_are_kept() -> None:
    """A million bad rows must fill neither memory nor terminal. They come in any order."""
    faults = Faults()
    for line in range(10 * MOST_FAULTS, 0, -1):
        faults.add(line, "x", "bad")
    assert faults.count == 10 * MOST_FAULTS
    assert [each.line for each in faults.listed] == list(range(1, MOST_FAULTS + 1))
