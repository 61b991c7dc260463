"""cfssl's documents and commands: the same files lead to the same certificates, and what is not obeyed is refused.

What differs on purpose is listed, with a reason each, where tests compare both: tests/judges/test_cfssl.py.
"""
