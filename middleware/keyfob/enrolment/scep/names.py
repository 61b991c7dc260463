"""The object identifiers of CMS (RFC 5652) and SCEP (RFC 8894) that are used here, as the content of their DER."""

from cryptography.hazmat.primitives import hashes

DATA = bytes.fromhex("2a864886f70d010701")
SIGNED_DATA = bytes.fromhex("2a864886f70d010702")
ENVELOPED_DATA = bytes.fromhex("2a864886f70d010703")
CONTENT_TYPE = bytes.fromhex("2a864886f70d010903")
MESSAGE_DIGEST = bytes.fromhex("2a864886f70d010904")
RSA_ENCRYPTION = bytes.fromhex("2a864886f70d010101")

SHA256 = bytes.fromhex("608648016503040201")
# The digests that count, each with the signature algorithm that names it again.
DIGESTS: dict[bytes, tuple[hashes.HashAlgorithm, bytes]] = {
    SHA256: (hashes.SHA256(), bytes.fromhex("2a864886f70d01010b")),
    bytes.fromhex("608648016503040202"): (hashes.SHA384(), bytes.fromhex("2a864886f70d01010c")),
    bytes.fromhex("608648016503040203"): (hashes.SHA512(), bytes.fromhex("2a864886f70d01010d")),
}
# AES-128 and AES-256 in CBC: what `cryptography` opens.
CIPHERS = {bytes.fromhex("60864801650304012a"), bytes.fromhex("608648016503040102")}

# RFC 8894 section 3.2.1: attributes, all below 2.16.840.1.113733.1.9.
_SCEP = bytes.fromhex("6086480186f8450109")
MESSAGE_TYPE, PKI_STATUS, FAIL_INFO = _SCEP + b"\2", _SCEP + b"\3", _SCEP + b"\4"
SENDER_NONCE, RECIPIENT_NONCE, TRANSACTION_ID = _SCEP + b"\5", _SCEP + b"\6", _SCEP + b"\7"
