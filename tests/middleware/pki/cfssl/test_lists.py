"""pki.cfssl.lists: lists of serial numbers that somebody has written down."""

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certificates import make_authority, make_leaf
from exchanges import ask, make_scope
from keyfob import AccessMiddleware
from keyfob.errors import PKIError
from keyfob.pki.authority import Authority, Issued, make_key_usage
from keyfob.pki.cfssl.lists import make_list, read_seconds, read_serials

ROOT = make_authority("Root")


def authority() -> Authority:
    return Authority(Issued(ROOT.certificate, ROOT.key))  # type: ignore[arg-type]


def test_a_line_is_a_serial_number() -> None:
    """Empty lines and the ends of other systems' lines are nothing."""
    assert list(read_serials("1\r\n\n  22 \n", "x")) == [1, 22]


@pytest.mark.parametrize("line", ["0x1", "a", "-1", "0", "1.0", "1 2", "\u0661", "9" * 49, "9" * 5000])
def test_any_other_line_is_refused_with_its_number(line: str) -> None:
    """cfssl takes them for nought, and whoever was meant stays."""
    with pytest.raises(PKIError, match=r"^x:2: .* is no serial number"):
        list(read_serials(f"1\n{line}\n", "x"))


@pytest.mark.parametrize(("text", "seconds"), [("0", 604800), (" 3600\n", 3600), ("1", 1), ("2147483647", 2147483647)])
def test_a_time_is_a_number_of_seconds(text: str, seconds: int) -> None:
    """A week for nought, as with cfssl."""
    assert read_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "-1", "1h", "0x10", "2147483648", "\u0661", "9" * 5000])
def test_any_other_time_is_refused(text: str) -> None:
    """Negative ones end before they begin."""
    with pytest.raises(PKIError, match="is no number of seconds"):
        read_seconds(text)


def test_a_number_stands_in_a_list_once() -> None:
    """Some readers refuse a list that names one twice."""
    assert [each.serial_number for each in make_list([3, 1, 3], authority(), 60)] == [3, 1]


def test_an_authority_that_may_not_sign_lists_is_refused() -> None:
    """Nobody would believe it, and the device would stay."""
    quiet = make_authority("Quiet", extensions=[(make_key_usage("key_cert_sign"), True)])
    with pytest.raises(PKIError, match="may not sign lists"):
        make_list([1], Authority(Issued(quiet.certificate, quiet.key)), 60)  # type: ignore[arg-type]


def test_a_list_closes_the_gate(tmp_path: Path) -> None:
    """It is read as any other: one device is out, and another still in."""
    out, still_in = make_leaf(ROOT), make_leaf(ROOT)
    ROOT.write(tmp_path, "ca")
    made = make_list([out.certificate.serial_number], authority(), 3600)
    (tmp_path / "ca.crl").write_bytes(made.public_bytes(Encoding.DER))
    (tmp_path / "access.toml").write_text(
        """
        [source]
        kind = "tls"
        [[root_certificates]]
        name = "Root"
        certificate = "ca.pem"
        associated_hostnames = ["money.example.com"]
        crl = ["ca.crl"]
        [[applications]]
        name = "Budget"
        domain = "money.example.com"
        policies = [{ name = "devices", decision = "non_identity", include = [{ certificate = {} }] }]
        """
    )
    seen: list[object] = []

    async def app(scope: object, receive: object, send: object) -> None:
        seen.append(scope)
        await send({"type": "http.response.start", "status": 200, "headers": []})  # type: ignore[operator]
        await send({"type": "http.response.body"})  # type: ignore[operator]

    door = AccessMiddleware(app, config=tmp_path / "access.toml")
    assert isinstance(made.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number, int)
    assert ask(door, make_scope([still_in.pem])).status == 200
    assert ask(door, make_scope([out.pem])).status != 200
    assert len(seen) == 1
