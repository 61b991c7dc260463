"""Who the person or the service is: providers, sessions and service tokens. What is decided here needs no I/O.

Needs the extra `sso`; a configuration without logins imports none of it.
"""
