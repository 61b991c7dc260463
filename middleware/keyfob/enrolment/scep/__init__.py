"""SCEP (RFC 8894): what iPhones speak to have a key signed that never leaves them."""
