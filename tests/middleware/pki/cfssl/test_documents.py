"""pki.cfssl.documents: JSON as Go reads it, with nothing passed over."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.patience import examples
from keyfob.errors import PKIError
from keyfob.pki.cfssl.documents import Place, read_document, suggest, write_document

KNOWN = ("CN", "hosts", "key", "names", "ca")


def refuse(text: str) -> PKIError:
    with pytest.raises(PKIError) as caught:
        read_document(text.encode(), "x.json", KNOWN)
    return caught.value


def test_a_key_is_found_in_any_letters() -> None:
    """As Go finds it."""
    table = read_document(b'{"cn": "a", "HOSTS": ["b"]}', "x.json", KNOWN)
    assert (table.text("CN"), table.texts("hosts")) == ("a", ("b",))


def test_null_is_as_good_as_nothing() -> None:
    """Go leaves a field alone for it; an empty list is something else."""
    table = read_document(b'{"CN": null, "hosts": null, "key": null, "names": [], "ca": null}', "x.json", KNOWN)
    assert (table.text("CN"), table.texts("hosts"), table.table("key", ()), table.number("ca")) == (
        "",
        None,
        None,
        None,
    )
    assert (table.texts("names"), table.says("names"), table.has("names"), table.has("CN")) == ((), False, True, True)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ('{"host": []}', "x.json: host: nothing is known of this key", "did you mean 'hosts'?"),
        ('{"zzzz": 1}', "x.json: zzzz: nothing is known of this key", "known: CN, hosts, key, names, ca"),
        ('{"CN": "a", "cn": "a"}', "x.json: CN: stands there twice", "write it once"),
        ('{"CN": "a",\n}', "x.json: line ", "look at the commas"),
        ("", "x.json: is empty", "the command before it has failed"),
        ("[]", "x.json: is no JSON object", "write { … }"),
        ('{"ca": NaN}', "x.json: is no JSON", "NaN is no JSON value"),
        ("[" * 100_000, "x.json: ", ""),
        ('{"ca": ' + "9" * 5000 + "}", "x.json: is no JSON", ""),
        ('{"CN": "a"} {}', "x.json: line 1 is no JSON", ""),
    ],
)
def test_what_cannot_be_read_is_refused(text: str, message: str, hint: str) -> None:
    """With the place, and what to do about it."""
    error = refuse(text)
    assert error.message.startswith(message)
    assert hint in error.hint


def test_octets_that_are_no_text_are_refused() -> None:
    """Neither Latin-1 nor nonsense."""
    with pytest.raises(PKIError, match="is no JSON"):
        read_document(b'{"CN": "\xff"}', "x.json", KNOWN)


@pytest.mark.parametrize("value", ["1", "true", '"a"', "[]", "{}", "1.5", "[[1]]", '["a", 1]', "[null]"])
def test_every_reader_refuses_other_types(value: str) -> None:
    """A value of the wrong kind is never taken for the right one."""
    table = read_document(f'{{"key": {value}}}'.encode(), "x.json", KNOWN)
    accepted = []
    for read in (
        table.text,
        table.flag,
        table.number,
        table.texts,
        table.numbers,
        lambda key: table.table(key, ()),
        lambda key: table.tables(key, ()),
        lambda key: list(table.named(key, ())),
    ):
        try:
            read("key")
        except PKIError as error:
            assert error.message.startswith("x.json: key")
            assert error.hint
        else:
            accepted.append(read)
    kinds = {"1": 1, "true": 1, '"a"': 1, "[]": 3, "{}": 2}
    assert len(accepted) == kinds.get(value, 0)


def test_names_that_somebody_chose_keep_their_letters() -> None:
    """Two profiles may differ by a capital letter; the same one twice is refused."""
    table = read_document(b'{"ca": {"a": {}, "A": {}}}', "x.json", KNOWN)
    assert [name for name, _ in table.named("ca", ())] == ["a", "A"]
    twice = read_document(b'{"ca": {"a": {}, "a": {}}}', "x.json", KNOWN)
    with pytest.raises(PKIError, match=r"x\.json: ca\.a: stands there twice"):
        list(twice.named("ca", ()))


def test_a_place_is_written_as_a_path() -> None:
    """So that it can be found in the file."""
    assert str(Place("x.json").at("names").at(1).at("OID")) == "x.json: names[1].OID"
    assert str(Place("x.json")) == "x.json"


def test_suggestions_know_no_letters() -> None:
    """Whoever writes CAPITALS may have meant the same."""
    assert suggest("EXPIRI", ("expiry", "usages")) == "did you mean 'expiry'?"


def test_json_is_written_as_go_writes_it() -> None:
    """What means something in HTML is spelt out, and nothing else."""
    assert write_document({"a": "<é&>\u2028"}) == '{"a":"\\u003cé\\u0026\\u003e\\u2028"}'
    assert write_document({"a": [1]}, indent=2) == '{\n  "a": [\n    1\n  ]\n}'


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(KNOWN) | st.text(), inner),
    max_leaves=8,
)


@examples(200)
@given(VALUES, st.sampled_from(["text", "flag", "number", "texts", "numbers"]))
def test_nothing_but_a_refusal_comes_of_any_document(value: object, reader: str) -> None:
    """Whatever stands there: it is read, or there is one sentence about it."""
    try:
        table = read_document(json.dumps(value).encode(), "x.json", KNOWN)
        getattr(table, reader)("key")
    except PKIError as error:
        assert error.message.startswith("x.json")
