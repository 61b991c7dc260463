"""When two names are the same, however they are spelt."""

from unicodedata import normalize

from cryptography import x509

Spelling = tuple[tuple[tuple[str, str | bytes], ...], ...]


def spell(name: x509.Name) -> Spelling:
    """The same value for names that RFC 5280 section 7.1 calls the same: case, spaces and string types do not count.

    Of two spellings of one authority both are meant when a certificate is withdrawn.
    """
    return tuple(tuple(sorted((each.oid.dotted_string, _spell(each.value)) for each in part)) for part in name.rdns)


def _spell(value: str | bytes) -> str | bytes:
    if isinstance(value, bytes):
        return value
    if value.isascii():
        return " ".join(value.lower().split())
    return " ".join(normalize("NFKC", value).casefold().split())
