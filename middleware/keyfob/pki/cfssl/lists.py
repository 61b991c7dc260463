"""`cfssl gencrl`: a list of revoked certificates, of the serial numbers in a text."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

from cryptography import x509

from keyfob.errors import PKIError
from keyfob.pki.authority import Authority, identify_issuer
from keyfob.pki.cfssl.requests import find_extension, require_key
from keyfob.pki.keys import choose_hash

WEEK = 604800
# Go reads it as a signed number of 32 bits.
LONGEST = 2**31 - 1


def read_seconds(text: str) -> int:
    """For how long a list is to be good; a week for nought, as for nothing. Raises PKIError."""
    stripped = text.strip()
    if not (stripped.isascii() and stripped.isdigit() and len(stripped) <= 10 and int(stripped) <= LONGEST):
        raise PKIError(f"{text[:40]!r} is no number of seconds", f"write {WEEK} for a week")
    return int(stripped) or WEEK


def read_serials(text: str, name: str) -> Iterator[int]:
    """The serial numbers of a text, one a line, in decimal digits. Raises PKIError."""
    for number, line in enumerate(text.splitlines(), 1):
        digits = line.strip()
        if not digits:
            continue
        # RFC 5280 section 4.1.2.2: 20 octets, which are 49 digits at most.
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 49 and 0 < int(digits) < 1 << 160):
            raise PKIError(
                f"{name}:{number}: {digits[:60]!r} is no serial number",
                "write decimal digits, as `keyfob cfssl certinfo` shows them",
            )
        yield int(digits)


def make_list(serials: Iterable[int], authority: Authority, seconds: int) -> x509.CertificateRevocationList:
    """A list of these, good from now on. Raises PKIError if nobody would believe this authority's lists."""
    issuer, key = authority.certificate, authority.issued.key
    require_key(issuer.public_key(), "the authority")
    usage = find_extension(issuer.extensions, x509.KeyUsage)
    if usage is not None and not usage.crl_sign:
        raise PKIError(
            f"{issuer.subject.rfc4514_string()} may not sign lists", 'an authority needs "crl sign" among its usages'
        )
    now = datetime.now(UTC).replace(microsecond=0)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(now)
        .next_update(now + timedelta(seconds=seconds))
        .add_extension(identify_issuer(issuer), critical=False)
        # RFC 5280 section 5.2.3 asks for a number that grows. There is no place to count, but there is a clock.
        .add_extension(x509.CRLNumber(int(now.timestamp())), critical=False)
    )
    for serial in dict.fromkeys(serials):
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now).build()
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(key, choose_hash(key))
