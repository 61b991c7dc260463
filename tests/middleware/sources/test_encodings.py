"""sources.encodings: what each proxy writes is read to the byte, and what none of them writes is refused."""

from base64 import b64encode, urlsafe_b64encode
from collections.abc import Sequence
from hashlib import sha256
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from certificates import make_authority, make_leaf
from keyfob.sources.encodings import (
    ENCODINGS,
    Decoder,
    decode_base64,
    decode_byte_sequence,
    decode_byte_sequences,
    decode_der,
    decode_der_list,
    decode_pem,
    decode_pem_chain,
    decode_xfcc,
    parse_xfcc,
)
from keyfob.sources.formats import FORMATS

_ROOT = make_authority("Root")
_PAIRS = (make_leaf(_ROOT), _ROOT, make_leaf(_ROOT, "Another"))
LEAF, ROOT, OTHER = (each.certificate.public_bytes(Encoding.DER) for each in _PAIRS)
LEAF_PEM, ROOT_PEM, OTHER_PEM = (each.pem for each in _PAIRS)
LEAF_TEXT = b64encode(LEAF)
# Its base64 ends in two signs of padding, one, and none.
TAILS = {2: b"\x30\x01\x41\x42", 1: b"\x30\x01\x41\x42\x43", 0: b"\x30\x01\x41"}


def escape(text: str, safe: str = "") -> bytes:
    """Percent-encoding as most proxies write it."""
    return quote(text, safe=safe).encode()


def _change_case(text: bytes) -> bytes:
    """The same with lower-case digits, as Apache writes them."""
    head, *rest = text.split(b"%")
    return b"%".join([head, *(each[:2].lower() + each[2:] for each in rest)])


def join_lines(pem: str, separator: str) -> bytes:
    return pem.replace("\n", separator).encode()


def make_element(
    leaf: bytes = LEAF, pem: str | None = LEAF_PEM, chain: Sequence[str] | None = None, rest: bytes = b""
) -> bytes:
    """One element of Envoy's header: Hash, Cert, and Chain where `chain` is given."""
    pairs = [b"Hash=" + sha256(leaf).hexdigest().encode()]
    if pem is not None:
        pairs.append(b'Cert="' + escape(pem) + b'"')
    if chain is not None:
        pairs.append(b'Chain="' + escape("".join(chain)) + b'"')
    return b";".join([*pairs, *([rest] if rest else [])])


GOOD: dict[str, tuple[Decoder, bytes, tuple[bytes, ...]]] = {
    "nginx, Kong, CloudFront: everything escaped": (decode_pem, escape(LEAF_PEM), (LEAF,)),
    "Apache: spaces for line ends, and one at the end": (decode_pem, join_lines(LEAF_PEM, " "), (LEAF,)),
    "Apache: escape, lower case, + / = literal": (decode_pem, _change_case(escape(LEAF_PEM, "+/=")), (LEAF,)),
    "ALB: + / = literal": (decode_pem, escape(LEAF_PEM, "+/="), (LEAF,)),
    "CRLF, escaped": (decode_pem, escape(LEAF_PEM.replace("\n", "\r\n")), (LEAF,)),
    "no line end at the end": (decode_pem, escape(LEAF_PEM.strip()), (LEAF,)),
    "base64 on one line": (
        decode_pem,
        b"-----BEGIN CERTIFICATE----- " + LEAF_TEXT + b" -----END CERTIFICATE-----",
        (LEAF,),
    ),
    "letters escaped as well": (decode_pem, b"".join(b"%%%02x" % each for each in LEAF_PEM.encode()), (LEAF,)),
    "ALB passthrough: one": (decode_pem_chain, escape(LEAF_PEM, "+/="), (LEAF,)),
    "ALB passthrough: the whole chain": (decode_pem_chain, escape(LEAF_PEM + ROOT_PEM, "+/="), (LEAF, ROOT)),
    "ALB passthrough: = escaped too": (decode_pem_chain, escape(LEAF_PEM + ROOT_PEM, "+/"), (LEAF, ROOT)),
    "a chain with empty lines between": (decode_pem_chain, escape(LEAF_PEM + "\n\n" + ROOT_PEM), (LEAF, ROOT)),
    "HAProxy, Caddy, App Service, Cloudflare, OpenShift": (decode_der, LEAF_TEXT, (LEAF,)),
    "Traefik: the leaf": (decode_der_list, LEAF_TEXT, (LEAF,)),
    "Traefik: a chain": (decode_der_list, LEAF_TEXT + b"," + b64encode(ROOT), (LEAF, ROOT)),
    "RFC 9440, Google: Client-Cert": (decode_byte_sequence, b":" + LEAF_TEXT + b":", (LEAF,)),
    "RFC 9440, Google: Client-Cert-Chain": (
        decode_byte_sequences,
        b":" + LEAF_TEXT + b": \t,\t :" + b64encode(ROOT) + b":,:" + LEAF_TEXT + b":",
        (LEAF, ROOT, LEAF),
    ),
    "Envoy: Hash and Cert": (decode_xfcc, make_element(), (LEAF,)),
    "Envoy: with the chain": (decode_xfcc, make_element(chain=[LEAF_PEM, ROOT_PEM]), (LEAF, ROOT)),
    "Envoy: every detail": (
        decode_xfcc,
        b"By=spiffe://cluster.local/ns/a/sa/b;"
        + make_element(chain=[LEAF_PEM])
        + rb';Subject="CN=x,O=Acme\, Inc. \"Quoted\",C=GB";URI=spiffe://a/b;URI=;DNS=a.example;DNS=*.a.example',
        (LEAF,),
    ),
    "Envoy: keys in any case, and in any order": (
        decode_xfcc,
        b'CERT="' + escape(LEAF_PEM) + b'";hash=' + sha256(LEAF).hexdigest().upper().encode(),
        (LEAF,),
    ),
    "Envoy: names twice that nobody looks at": (decode_xfcc, make_element(rest=b"By=a;By=b;URI=c;URI=d"), (LEAF,)),
}


@pytest.mark.parametrize("case", GOOD)
def test_what_a_proxy_writes_is_read(case: str) -> None:
    """To the very bytes of the certificates, the leaf first."""
    decode, value, ders = GOOD[case]
    assert decode(value) == ders


@pytest.mark.parametrize("padding", TAILS)
def test_every_length_of_padding_is_read(padding: int) -> None:
    """RFC 4648 section 4."""
    data = TAILS[padding]
    text = b64encode(data)
    assert text.count(b"=") == padding
    pem = b"-----BEGIN CERTIFICATE-----%0A" + text.replace(b"=", b"%3D") + b"%0A-----END CERTIFICATE-----"
    assert decode_base64(text) == data
    assert decode_der(text) == decode_byte_sequence(b":" + text + b":") == decode_pem(pem) == (data,)


BASE64 = "not base64"
LIST = "not a structured field's list"
SEQUENCE = "not a structured field's byte sequence"
XFCC = "not an x-forwarded-client-cert field"
PEM = "not PEM certificates and nothing else"
RAW = "raw line ends"
PERCENT = "percent sign"
ONE = "where one is meant"

_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
_SPACED = join_lines(LEAF_PEM, " ")
_HASH = sha256(LEAF).hexdigest().encode()

BAD: dict[str, tuple[Decoder, bytes, str]] = {
    "base64: nothing": (decode_der, b"", BASE64),
    "base64: unused bits set": (decode_der, b"MAFBQh==", BASE64),
    "base64: padding missing": (decode_der, b"MAFBQg", BASE64),
    "base64: one sign of padding missing": (decode_der, b"MAFBQg=", BASE64),
    "base64: padding too long": (decode_der, b"MAFBQg===", BASE64),
    "base64: padding where none belongs": (decode_der, b"MAFB=", BASE64),
    "base64: padding in the middle": (decode_der, b"MA==MAFB", BASE64),
    "base64: padding first": (decode_der, b"=MAFBQg=", BASE64),
    "base64: only padding": (decode_der, b"====", BASE64),
    "base64: text behind the padding": (decode_der, b"MAFBQg==x", BASE64),
    "base64: one digit": (decode_der, b"M", BASE64),
    "base64url": (decode_der, urlsafe_b64encode(b"\xfb\xff\xbf" * 4), BASE64),
    "base64: lines": (decode_der, LEAF_TEXT[:64] + b"\n" + LEAF_TEXT[64:], BASE64),
    "base64: a space": (decode_der, LEAF_TEXT[:64] + b" " + LEAF_TEXT[64:], BASE64),
    "base64: a blank behind it": (decode_der, LEAF_TEXT + b" ", BASE64),
    "base64: a NUL": (decode_der, LEAF_TEXT[:64] + b"\0" + LEAF_TEXT[64:], BASE64),
    "base64: escaped": (decode_der, escape(LEAF_TEXT.decode()), BASE64),
    "base64: in quotation marks": (decode_der, b'"' + LEAF_TEXT + b'"', BASE64),
    "base64: of PEM": (decode_der, LEAF_PEM.encode(), BASE64),
    "base64: beyond ASCII": (decode_der, "MAFBQ\uff27==".encode(), BASE64),
    "one certificate: two of them": (decode_der, LEAF_TEXT + b"," + LEAF_TEXT, BASE64),
    "list: nothing": (decode_der_list, b"", BASE64),
    "list: an empty certificate": (decode_der_list, LEAF_TEXT + b",," + LEAF_TEXT, BASE64),
    "list: a comma at the end": (decode_der_list, LEAF_TEXT + b",", BASE64),
    "list: a comma first": (decode_der_list, b"," + LEAF_TEXT, BASE64),
    "list: blanks between": (decode_der_list, LEAF_TEXT + b", " + LEAF_TEXT, BASE64),
    "list: semicolons between": (decode_der_list, LEAF_TEXT + b";" + LEAF_TEXT, BASE64),
    "list: the second is broken": (decode_der_list, LEAF_TEXT + b",MAFBQh==", BASE64),
    "sequence: nothing": (decode_byte_sequence, b"", SEQUENCE),
    "sequence: empty": (decode_byte_sequence, b"::", BASE64),
    "sequence: no colon at the end": (decode_byte_sequence, b":" + LEAF_TEXT, SEQUENCE),
    "sequence: no colon first": (decode_byte_sequence, LEAF_TEXT + b":", SEQUENCE),
    "sequence: no colons": (decode_byte_sequence, LEAF_TEXT, SEQUENCE),
    "sequence: parameters": (decode_byte_sequence, b":" + LEAF_TEXT + b":;a=1", SEQUENCE),
    "sequence: a list": (decode_byte_sequence, b":" + LEAF_TEXT + b":, :" + LEAF_TEXT + b":", SEQUENCE),
    "sequence: an inner list": (decode_byte_sequence, b"(:" + LEAF_TEXT + b":)", SEQUENCE),
    "sequence: blanks inside": (decode_byte_sequence, b": " + LEAF_TEXT + b":", SEQUENCE),
    "sequence: blanks around": (decode_byte_sequence, b" :" + LEAF_TEXT + b":", SEQUENCE),
    "sequence: a line end behind": (decode_byte_sequence, b":" + LEAF_TEXT + b":\n", SEQUENCE),
    "sequence: base64url": (decode_byte_sequence, b":" + urlsafe_b64encode(b"\xfb\xff\xbf" * 4) + b":", SEQUENCE),
    "sequence: unused bits set": (decode_byte_sequence, b":MAFBQh==:", BASE64),
    "sequence: padding missing": (decode_byte_sequence, b":MAFBQg:", BASE64),
    "sequence: a string": (decode_byte_sequence, b'"' + LEAF_TEXT + b'"', SEQUENCE),
    "sequences: nothing": (decode_byte_sequences, b"", LIST),
    "sequences: an empty one": (decode_byte_sequences, b":MAFB:, ::", BASE64),
    "sequences: a comma at the end": (decode_byte_sequences, b":MAFB:,", LIST),
    "sequences: a comma first": (decode_byte_sequences, b",:MAFB:", LIST),
    "sequences: an empty member": (decode_byte_sequences, b":MAFB:,,:MAFB:", LIST),
    "sequences: no comma": (decode_byte_sequences, b":MAFB: :MAFB:", LIST),
    "sequences: parameters": (decode_byte_sequences, b":MAFB:;a, :MAFB:", LIST),
    "sequences: a token among them": (decode_byte_sequences, b":MAFB:, a", LIST),
    "sequences: one broken": (decode_byte_sequences, b":MAFB:, :MAFBQh==:", BASE64),
    "PEM: no armour": (decode_pem, LEAF_TEXT, PEM),
    "PEM: no end": (decode_pem, escape(LEAF_PEM.replace(_END, "")), PEM),
    "PEM: no beginning": (decode_pem, escape(LEAF_PEM.replace(_BEGIN, "")), PEM),
    "PEM: nothing inside": (decode_pem, escape(f"{_BEGIN}\n{_END}\n"), PEM),
    "PEM: blanks inside": (decode_pem, escape(f"{_BEGIN}\n\n \n{_END}\n"), PEM),
    "PEM: base64 at once": (decode_pem, escape(LEAF_PEM.replace(_BEGIN + "\n", _BEGIN)), PEM),
    "PEM: trusted certificate": (decode_pem, escape(LEAF_PEM.replace("CERTIFICATE", "TRUSTED CERTIFICATE")), PEM),
    "PEM: another label at the beginning": (
        decode_pem,
        escape(LEAF_PEM.replace(_BEGIN, "-----BEGIN X509 CERTIFICATE-----")),
        PEM,
    ),
    "PEM: another label at the end": (
        decode_pem,
        escape(LEAF_PEM.replace(_END, "-----END X509 CERTIFICATE-----")),
        PEM,
    ),
    "PEM: X509 certificate": (decode_pem, escape(LEAF_PEM.replace("CERTIFICATE", "X509 CERTIFICATE")), PEM),
    "PEM: lower case": (decode_pem, escape(LEAF_PEM.replace("CERTIFICATE", "certificate")), PEM),
    "PEM: four dashes": (decode_pem, escape(LEAF_PEM.replace("-----", "----")), PEM),
    "PEM: six dashes": (decode_pem, escape(LEAF_PEM.replace("-----", "------")), PEM),
    "PEM: headers inside": (decode_pem, escape(LEAF_PEM.replace(_BEGIN, _BEGIN + "\nProc-Type: 4")), PEM),
    "PEM: text before": (decode_pem, escape("subject=/CN=x\n" + LEAF_PEM), PEM),
    "PEM: text behind": (decode_pem, escape(LEAF_PEM + "x"), PEM),
    "PEM: text between": (decode_pem_chain, escape(LEAF_PEM + "x\n" + ROOT_PEM), PEM),
    "PEM: a comma between": (decode_pem_chain, escape(LEAF_PEM) + b"," + escape(ROOT_PEM), PEM),
    "PEM: in quotation marks": (decode_pem, b'"' + escape(LEAF_PEM) + b'"', PEM),
    "PEM: base64url": (decode_pem, f"{_BEGIN} -_-_ {_END}".encode(), PEM),
    "PEM: unused bits set": (decode_pem, f"{_BEGIN} MAFBQh== {_END}".encode(), BASE64),
    "PEM: padding missing": (decode_pem, f"{_BEGIN} MAFBQg {_END}".encode(), BASE64),
    "PEM: padding in the middle": (decode_pem, f"{_BEGIN} MA==MAFB {_END}".encode(), BASE64),
    "PEM: two where one is meant": (decode_pem, escape(LEAF_PEM + OTHER_PEM), ONE),
    "PEM: the same twice": (decode_pem, escape(LEAF_PEM * 2), ONE),
    "PEM: none": (decode_pem, b"", "certificate"),
    "PEM: an escaped blank": (decode_pem, b"%20", "certificate"),
    "PEM chain: none": (decode_pem_chain, b"", "certificate"),
    "PEM chain: escaped blanks": (decode_pem_chain, b"%0A%20%0D%0A", "certificate"),
    "PEM chain: the second is broken": (decode_pem_chain, escape(LEAF_PEM + f"{_BEGIN}\nMAFBQh==\n{_END}"), BASE64),
    "PEM: raw line ends": (decode_pem, LEAF_PEM.encode(), RAW),
    "PEM: a folded field": (decode_pem, join_lines(LEAF_PEM, "\n\t"), RAW),
    "PEM: a folded field, CRLF": (decode_pem, join_lines(LEAF_PEM, "\r\n "), RAW),
    "PEM: a raw carriage return": (decode_pem, escape(LEAF_PEM) + b"\r", RAW),
    "PEM: tabs for line ends": (decode_pem, join_lines(LEAF_PEM, "\t"), RAW),
    "PEM: a raw NUL": (decode_pem, escape(LEAF_PEM) + b"\0", RAW),
    "PEM: an escaped NUL": (decode_pem, escape(LEAF_PEM) + b"%00", PEM),
    "PEM: an escaped tab": (decode_pem, escape(LEAF_PEM.replace("\n", "\t")), PEM),
    "PEM: a vertical tab": (decode_pem, escape(LEAF_PEM.replace("\n", "\v")), PEM),
    "PEM: beyond ASCII": (decode_pem, escape(LEAF_PEM) + b"\xa0", RAW),
    "PEM: beyond ASCII, escaped": (decode_pem, escape(LEAF_PEM) + b"%C2%A0", PEM),
    "PEM: a plus for every space": (decode_pem, escape(LEAF_PEM).replace(b"%20", b"+"), PEM),
    "PEM: escaped twice": (decode_pem, escape(LEAF_PEM).replace(b"%", b"%25"), PEM),
    "percent: at the end": (decode_pem, _SPACED + b"%", PERCENT),
    "percent: one digit at the end": (decode_pem, _SPACED + b"%0", PERCENT),
    "percent: no digits": (decode_pem, _SPACED + b"%zz", PERCENT),
    "percent: a sign": (decode_pem, _SPACED + b"%+A", PERCENT),
    "percent: a blank": (decode_pem, _SPACED + b"% A", PERCENT),
    "percent: an underscore": (decode_pem, _SPACED + b"%1_", PERCENT),
    "percent: the prefix of a number": (decode_pem, _SPACED + b"%0x", PERCENT),
    "percent: another": (decode_pem, _SPACED + b"%%20", PERCENT),
    "percent: as scripts write it": (decode_pem, _SPACED + b"%u000A", PERCENT),
    "XFCC: nothing": (decode_xfcc, b"", XFCC),
    "XFCC: a certificate alone": (decode_xfcc, escape(LEAF_PEM), XFCC),
    "XFCC: base64 of DER": (decode_xfcc, LEAF_TEXT, XFCC),
    "XFCC: no Hash": (decode_xfcc, b'Cert="' + escape(LEAF_PEM) + b'"', "Hash"),
    "XFCC: no Cert": (decode_xfcc, b"Hash=" + _HASH, "."),
    "XFCC: an empty Cert": (decode_xfcc, b"Hash=" + _HASH + b';Cert=""', "certificate"),
    "XFCC: the Hash of another": (decode_xfcc, make_element(OTHER), "Hash is not the fingerprint"),
    "XFCC: half a Hash": (decode_xfcc, make_element().replace(_HASH, _HASH[:32]), "Hash is not the fingerprint"),
    "XFCC: SHA-1": (decode_xfcc, make_element().replace(_HASH, b"0" * 40), "Hash is not the fingerprint"),
    "XFCC: an empty Hash": (decode_xfcc, make_element().replace(_HASH, b""), "Hash is not the fingerprint"),
    "XFCC: two elements": (decode_xfcc, make_element() + b"," + make_element(OTHER, OTHER_PEM), "2 elements"),
    "XFCC: the same element twice": (decode_xfcc, make_element() + b"," + make_element(), "2 elements"),
    "XFCC: an element without certificate": (decode_xfcc, make_element() + b",By=a", "2 elements"),
    "XFCC: an empty element": (decode_xfcc, make_element() + b",", XFCC),
    "XFCC: an empty element first": (decode_xfcc, b"," + make_element(), XFCC),
    "XFCC: an empty pair": (decode_xfcc, make_element() + b";;By=a", XFCC),
    "XFCC: a semicolon at the end": (decode_xfcc, make_element() + b";", XFCC),
    "XFCC: blanks behind the semicolon": (decode_xfcc, make_element().replace(b";", b"; "), XFCC),
    "XFCC: blanks before the equals sign": (decode_xfcc, make_element().replace(b"Cert=", b"Cert ="), XFCC),
    "XFCC: a key without value": (decode_xfcc, make_element() + b";By", XFCC),
    "XFCC: a value without key": (decode_xfcc, make_element() + b";=a", XFCC),
    "XFCC: Cert twice": (
        decode_xfcc,
        make_element(rest=b'Cert="' + escape(OTHER_PEM) + b'"'),
        "cert stands there twice",
    ),
    "XFCC: Cert twice, in other letters": (decode_xfcc, make_element(rest=b"cERT=x"), "cert stands there twice"),
    "XFCC: Hash twice": (decode_xfcc, make_element(rest=b"Hash=" + _HASH), "hash stands there twice"),
    "XFCC: Chain twice": (decode_xfcc, make_element(chain=[LEAF_PEM], rest=b"Chain=x"), "chain stands there twice"),
    "XFCC: two certificates in Cert": (decode_xfcc, make_element(pem=LEAF_PEM + ROOT_PEM), ONE),
    "XFCC: an empty Chain": (decode_xfcc, make_element(chain=[]), "."),
    "XFCC: a Chain of blanks": (decode_xfcc, make_element(chain=["\n"]), "."),
    "XFCC: a Chain of another": (decode_xfcc, make_element(chain=[OTHER_PEM, LEAF_PEM]), "does not begin with Cert"),
    "XFCC: a Chain without leaf": (decode_xfcc, make_element(chain=[ROOT_PEM]), "does not begin with Cert"),
    "XFCC: no quotation mark at the end": (decode_xfcc, make_element()[:-1], XFCC),
    "XFCC: text behind the quotation mark": (decode_xfcc, make_element() + b"x", XFCC),
    "XFCC: a quotation mark in a bare value": (decode_xfcc, make_element(rest=b'URI=a"b'), XFCC),
    "XFCC: a backslash at the end": (decode_xfcc, make_element(rest=b'Subject="a\\'), XFCC),
    "XFCC: a name that brings a certificate": (
        decode_xfcc,
        make_element(rest=b"URI=spiffe://evil;" + make_element(OTHER, OTHER_PEM)),
        "stands there twice",
    ),
    "XFCC: a name that brings an element": (
        decode_xfcc,
        make_element(rest=b"URI=spiffe://evil," + make_element(OTHER, OTHER_PEM)),
        "2 elements",
    ),
    "XFCC: line ends in Cert": (decode_xfcc, make_element().replace(b"%0A", b"\n"), RAW),
}


@pytest.mark.parametrize("case", BAD)
def test_everything_else_is_a_value_error(case: str) -> None:
    """With a sentence that says what is wrong, for the log."""
    decode, value, said = BAD[case]
    with pytest.raises(ValueError, match=said):
        decode(value)


@pytest.mark.parametrize(
    ("value", "elements"),
    [
        (b"By=a", [[(b"by", b"a")]]),
        (b"URI=", [[(b"uri", b"")]]),
        (b'Subject=""', [[(b"subject", b"")]]),
        (b"URI=spiffe://a/b?c=d", [[(b"uri", b"spiffe://a/b?c=d")]]),
        (b'Subject="a;b,c=d"', [[(b"subject", b"a;b,c=d")]]),
        (rb'Subject="O=Acme\, Inc. \"Quoted\",C=GB"', [[(b"subject", b'O=Acme, Inc. "Quoted",C=GB')]]),
        (rb'Subject="\\"', [[(b"subject", b"\\")]]),
        (b'Subject="a\nb\\\nc"', [[(b"subject", b"a\nb\nc")]]),
        (b"URI=a\\;DNS=b", [[(b"uri", b"a\\"), (b"dns", b"b")]]),
        (b"By=a;Hash=b,By=c;By=d", [[(b"by", b"a"), (b"hash", b"b")], [(b"by", b"c"), (b"by", b"d")]]),
        (b"URI=\xff\x00", [[(b"uri", b"\xff\x00")]]),
    ],
)
def test_xfcc_is_read_by_its_grammar(value: bytes, elements: list[list[tuple[bytes, bytes]]]) -> None:
    """Elements between commas, pairs between semicolons, and quotation marks with backslashes inside."""
    assert parse_xfcc(value) == elements


def test_a_plus_sign_means_itself() -> None:
    """base64 has it as a digit: read as a space, as forms are, it would be lost."""
    data = b"\xfb\xef\xbe" * 8
    assert b64encode(data).startswith(b"++++")
    pem = b"-----BEGIN CERTIFICATE-----%0A" + b64encode(data) + b"%0A-----END CERTIFICATE-----"
    assert decode_pem(pem) == decode_pem(pem.replace(b"+", b"%2B")) == (data,)


def test_every_decoder_has_good_and_bad_samples_here() -> None:
    """Those of the formats, and those that a configuration can name."""
    decoders = {*ENCODINGS.values(), *(form.decode for form in FORMATS.values())}
    assert decoders <= {decode for decode, *_ in GOOD.values()}
    assert decoders <= {decode for decode, *_ in BAD.values()}
