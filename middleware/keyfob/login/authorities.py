"""Authorities: whom to believe that a server is who it says, a file of CAs or the system's."""

import ssl


def make_context(authority: str) -> ssl.SSLContext:
    """What a server's certificate is verified with: the PEM file at a path, the system's CAs for an empty one.

    Raises OSError.
    """
    context = ssl.create_default_context(cafile=authority or None)
    # Python 3.13 wants every extension that RFC 5280 asks a CA for. Those inside a network seldom have them all, and
    # what is believed shall not hang on the Python.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context
