"""pki.cfssl.usages: cfssl's words for what a key may do."""

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from keyfob.errors import PKIError
from keyfob.pki.authority import make_key_usage
from keyfob.pki.cfssl.documents import Place
from keyfob.pki.cfssl.usages import EXTENDED_USAGES, KEY_USAGES, read_usages

PLACE = Place("x.json", "usages")


def test_every_word_is_read() -> None:
    """Each alone, as one usage or the other."""
    for word in KEY_USAGES:
        words = (word, "key agreement")
        found = read_usages(words, PLACE)
        assert KEY_USAGES[word] in found.key
        assert isinstance(make_key_usage(*found.key), x509.KeyUsage)
    for word, oid in EXTENDED_USAGES.items():
        assert read_usages((word,), PLACE).extended == (oid,)


def test_extended_usages_keep_their_order_and_stand_once() -> None:
    """The order is the file's."""
    found = read_usages(("server auth", "s/mime", "client auth", "email protection"), PLACE)
    server, mail, client = (
        getattr(ExtendedKeyUsageOID, name) for name in ("SERVER_AUTH", "EMAIL_PROTECTION", "CLIENT_AUTH")
    )
    assert found.extended == (server, mail, client)


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("Signing", "did you mean 'signing'?"),
        ("client-auth", "did you mean 'client auth'?"),
        ("clientAuth", "did you mean 'client auth'?"),
        ("smime", "did you mean 's/mime'?"),
        ("", "known: signing"),
    ],
)
def test_an_unknown_word_is_refused(word: str, hint: str) -> None:
    """Without it, the certificate might be good for more than was meant."""
    with pytest.raises(PKIError, match=r"^x\.json: usages\[1\]: ") as caught:
        read_usages(("signing", word), PLACE)
    assert caught.value.hint.startswith(hint)


def test_the_walkthroughs_word_is_passed_over_and_remembered() -> None:
    """It stands beside the right one there; alone it is no usage at all."""
    found = read_usages(("digital signing", "signing"), PLACE)
    assert found.key == {"digital_signature"}
    assert found.passed_over == ("digital signing",)
    assert not read_usages(("digital signing",), PLACE)


@pytest.mark.parametrize("word", ["encipher only", "decipher only"])
def test_what_depends_on_key_agreement_is_refused_without(word: str) -> None:
    """RFC 5280 section 4.2.1.3."""
    with pytest.raises(PKIError, match="key agreement"):
        read_usages(("signing", word), PLACE)
