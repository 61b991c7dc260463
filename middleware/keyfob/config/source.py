"""From the [source] table to the Source that it describes."""

from collections.abc import Iterator
from pathlib import Path

from keyfob.config.document import CUSTOM, UNIX, SourceTable
from keyfob.config.files import Files
from keyfob.errors import Problem
from keyfob.sources import Source
from keyfob.sources.encodings import ENCODINGS
from keyfob.sources.formats import FORMATS, Format, Verdict
from keyfob.sources.headers import LARGEST_CERTIFICATE, HeaderSource
from keyfob.sources.peers import ClientAddress, Peers
from keyfob.sources.tls import TLSSource

# Shorter ones can be guessed over a fast network.
SHORTEST_SECRET = 32

_CUSTOM_KEYS = ("certificate_header", "encoding", "verify_header", "verified")


def build_source(table: SourceTable, folder: Path, files: Files, problems: list[Problem]) -> Source | None:
    """The source that `table` describes, or None with everything that is wrong with it in `problems`."""
    found = list(_find_problems(table))
    if found:
        problems.extend(found)
        return None
    if table.kind == "tls":
        return TLSSource()
    form = _find_format(table)
    secret = _read_secret(folder / table.shared_secret.file, files, problems) if table.shared_secret else None
    proxies = table.trusted_proxies or []
    peers = Peers(
        [proxy for proxy in proxies if proxy != UNIX],
        unix=UNIX in proxies,
        secret=secret,
        client_address=ClientAddress(table.client_address or ClientAddress.X_FORWARDED_FOR),
    )
    return HeaderSource(
        form,
        peers,
        secret_header=table.shared_secret.header if table.shared_secret else "",
        largest=table.largest_certificate or LARGEST_CERTIFICATE,
    )


def _find_problems(table: SourceTable) -> Iterator[Problem]:
    if table.kind == "tls":
        for key in sorted(table.model_fields_set - {"kind"}):
            yield Problem(f"source.{key}", 'goes with kind = "header" alone', 'leave it out, or write kind = "header"')
        return
    if table.format is None:
        yield Problem("source.format", "is missing", f"known: {', '.join([*FORMATS, CUSTOM])}")
        return
    if table.trusted_proxies is None and table.shared_secret is None:
        hint = 'write trusted_proxies = ["127.0.0.1"], or have the proxy send a shared_secret'
        yield Problem("source.trusted_proxies", "is missing, so anybody could write the headers", hint)
    broken = list(_find_custom_problems(table))
    yield from broken
    if not broken:
        yield from _find_verdict_problems(table, _find_format(table))


def _find_custom_problems(table: SourceTable) -> Iterator[Problem]:
    given = [key for key in _CUSTOM_KEYS if getattr(table, key) is not None]
    if table.format != CUSTOM:
        for key in given:
            yield Problem(f"source.{key}", f'goes with format = "{CUSTOM}" alone', "leave it out")
        return
    if table.certificate_header is None:
        yield Problem("source.certificate_header", "is missing", 'write certificate_header = "X-Client-Cert"')
    if table.encoding is None:
        yield Problem("source.encoding", "is missing", f"known: {', '.join(ENCODINGS)}")
    if (table.verify_header is None) != (table.verified is None):
        absent = "verify_header" if table.verify_header is None else "verified"
        hint = 'write verify_header = "X-Client-Verify" and verified = "SUCCESS"'
        yield Problem(f"source.{absent}", "is missing; the two go together", hint)


def _find_verdict_problems(table: SourceTable, form: Format) -> Iterator[Problem]:
    place = "source.proxy_verifies"
    if form.verdict is Verdict.DECLARED and table.proxy_verifies is not True:
        hint = "make the proxy verify certificates, then write proxy_verifies = true"
        yield Problem(place, f"this format does not say whether a certificate was verified ({table.format})", hint)
    if form.verdict is Verdict.HEADER and table.proxy_verifies is not None:
        hint = f"leave it out: {', '.join(form.proofs)} says it with every request"
        yield Problem(place, "is not a question of configuration with this format", hint)
    if form.verdict is Verdict.OURS and table.proxy_verifies is not None:
        hint = "leave it out: the certificate is held against your root_certificates here"
        yield Problem(place, "this proxy never verifies certificates", hint)
    names = [table.shared_secret.header.lower()] if table.shared_secret else []
    names += [each.lower() for each in (table.certificate_header, table.verify_header) if each]
    if table.shared_secret and table.shared_secret.header.lower() in form.headers:
        yield Problem("source.shared_secret.header", "is a header of the certificate already", "choose another name")
    elif len(set(names)) != len(names):
        yield Problem("source.verify_header", "is the certificate's own header", "name the header with the verdict")


def _find_format(table: SourceTable) -> Format:
    if table.format != CUSTOM:
        return FORMATS[table.format or ""]
    proofs = {table.verify_header.lower(): table.verified or ""} if table.verify_header else {}
    return Format(
        (table.certificate_header or "").lower(),
        ENCODINGS[table.encoding or ""],
        Verdict.HEADER if proofs else Verdict.DECLARED,
        proofs,
    )


def _read_secret(path: Path, files: Files, problems: list[Problem]) -> bytes | None:
    place, hint = "source.shared_secret.file", "make one with: openssl rand -hex 32 > proxy-secret"
    try:
        secret = files.read(path).strip()
    except (OSError, ValueError) as error:  # A path with a NUL in it is a ValueError.
        said = getattr(error, "strerror", None) or str(error)
        problems.append(Problem(place, f"{path!s} cannot be read: {said}", hint))
        return None
    if len(secret) < SHORTEST_SECRET or not all(0x21 <= byte <= 0x7E for byte in secret):
        said = f"does not hold one word of at least {SHORTEST_SECRET} printable ASCII characters"
        problems.append(Problem(place, f"{path!s} {said}", hint))
    return secret
