"""x-forwarded-client-cert: two readings of Envoy's grammar, written independently, agree on every field."""

from hashlib import sha256
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.issued import DEVICES, escape_pem, write_der
from fuzz.mutations import make_case
from fuzz.patience import examples
from fuzz.proxies import PROXIES, Pairs, find_device, read_xfcc
from keyfob.sources.encodings import decode_xfcc, parse_xfcc

CASES = 1500

_KEYS = st.sampled_from(["By", "Hash", "Cert", "Chain", "Subject", "URI", "DNS", "hash", "CERT", "x1"]).map(str.encode)
_BARE = st.binary(max_size=12).filter(lambda value: not set(value) & set(b'",;'))
_QUOTED = st.binary(max_size=12)
_GRAMMAR = st.text(st.sampled_from('aB=;,"\\ %\n1'), max_size=40).map(str.encode)


def parse(field: bytes) -> list[Pairs] | None:
    """keyfob's reading; None if it is no such field."""
    try:
        return parse_xfcc(field)
    except ValueError:
        return None


@st.composite
def fields(draw: st.DrawFn) -> tuple[bytes, list[Pairs]]:
    """A field that follows the grammar, and what it says."""
    elements: list[Pairs] = []
    texts = []
    for _ in range(draw(st.integers(1, 3))):
        pairs, written = [], []
        for _ in range(draw(st.integers(1, 4))):
            key = draw(_KEYS)
            if draw(st.booleans()):
                value = draw(_BARE)
                written.append(key + b"=" + value)
            else:
                value = draw(_QUOTED)
                written.append(key + b'="' + value.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"')
            pairs.append((key.lower(), value))
        elements.append(pairs)
        texts.append(b";".join(written))
    return b",".join(texts), elements


@examples(300)
@given(fields())
def test_what_follows_the_grammar_is_read_as_it_was_written(field: tuple[bytes, list[Pairs]]) -> None:
    """By both."""
    text, elements = field
    assert parse(text) == read_xfcc(text) == elements


@examples(1000)
@given(st.binary(max_size=40) | _GRAMMAR)
def test_both_readings_agree_on_any_bytes(field: bytes) -> None:
    """On what the field says, and on whether it is one."""
    assert parse(field) == read_xfcc(field)


@examples(500)
@given(fields(), st.data())
def test_both_readings_agree_on_nearly_right_fields(field: tuple[bytes, list[Pairs]], data: st.DataObject) -> None:
    """With bytes put in, taken out, and changed."""
    text = field[0]
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text)))
        text = text[:at] + data.draw(_GRAMMAR)[:2] + text[at + data.draw(st.integers(0, 2)) :]
    assert parse(text) == read_xfcc(text)


@pytest.mark.parametrize("name", ["envoy", "istio"])
def test_both_readings_agree_on_mutations_of_real_fields(name: str) -> None:
    """And on whose certificate it is, if it is one at all."""
    read = 0
    for number in range(CASES):
        case = make_case(name, number)
        field = case.value[:4096]
        assert parse(field) == read_xfcc(field), case
        try:
            leaf = decode_xfcc(field)[0]
        except ValueError:
            continue
        read += 1
        assert find_device("xfcc", field) in (leaf, None), case
    assert read > CASES / 10


def test_the_field_that_envoy_documents_is_read() -> None:
    """Every key, quoted and bare, with RFC 2253's own backslashes in Subject."""
    der = write_der(DEVICES["phone"])
    digest = sha256(der).hexdigest()
    pem = escape_pem(der)
    field = (
        f'By=spiffe://a/b;Hash={digest};Cert="{pem}";Chain="{pem}";'
        r'Subject="CN=phone n\C3\A4,O=Acme\, Inc. \"Quoted\",C=GB";'
        "URI=spiffe://example.org/ns/default/sa/phone;DNS=phone.example;DNS=*.phone.example"
    ).encode()
    assert parse(field) == read_xfcc(field)
    assert decode_xfcc(field) == (der,)


@pytest.mark.parametrize("name", [name for name in DEVICES if name.startswith("forger")])
def test_no_name_in_a_certificate_brings_another_certificate(name: str) -> None:
    """Envoy writes names raw. A field in which one says more than a name is this device's or nobody's."""
    der, random = write_der(DEVICES[name]), Random(name)  # noqa: S311 - picks which details Envoy was asked for
    for _ in range(50):
        field = PROXIES["envoy"].write(random, [der])
        if name == "forger 5":
            assert decode_xfcc(field)[0] == der
        else:
            with pytest.raises(ValueError, match=r"twice|elements|not an x-forwarded-client-cert field"):
                decode_xfcc(field)
