"""errors: what an exception says."""

from keyfob.errors import ConfigError, KeyfobError, Problem


def test_an_error_says_what_and_then_the_cure() -> None:
    """The hint comes on a line of its own."""
    assert str(KeyfobError("the door is stuck", "push")) == "the door is stuck\nhint: push"
    assert str(KeyfobError("the door is stuck")) == "the door is stuck"


def test_one_problem_reads_as_one_sentence() -> None:
    """File, place and message, and the hint apart."""
    error = ConfigError("access.toml", [Problem("source.kind", "is missing", 'write "tls"')])
    assert error.message == "access.toml: source.kind: is missing"
    assert error.hint == 'write "tls"'


def test_many_problems_are_listed_each_on_its_line() -> None:
    """Nobody has to start the server five times to find five mistakes."""
    error = ConfigError("access.toml", [Problem("a", "is missing"), Problem("b", "is no key", "did you mean 'c'?")])
    assert str(error).splitlines() == [
        "access.toml: 2 problems",
        "  a: is missing",
        "  b: is no key (hint: did you mean 'c'?)",
    ]
