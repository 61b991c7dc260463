"""Which path a request means, on every WSGI server: the one that the app will be asked for, prefix and all."""

import pytest

from deploy.forgeries import Headers
from wsgi.fleet import Fleet
from wsgi.wire import Answer, ask, write_request

SERVERS = ["gunicorn-plain", "gunicorn-gthread-plain", "waitress-plain", "werkzeug-plain", "cheroot-plain"]
DEBIAN = ["uwsgi-plain", "mod_wsgi-plain"]
every_server = pytest.mark.parametrize("server", [*SERVERS, *DEBIAN])


def knock(fleet: Fleet, server: str, path: str, headers: Headers = ()) -> Answer:
    """Without a certificate: the public part is open, and the administration is not."""
    return ask(fleet[server], write_request(path, headers))


@every_server
def test_each_part_of_a_host_has_its_own_rules(fleet: Fleet, server: str) -> None:
    """Or what follows would prove nothing."""
    assert knock(fleet, server, "/paths/public/admin").outcome == "let in"
    assert knock(fleet, server, "/paths/admin").outcome == "certificate-not-requested"
    assert knock(fleet, server, "/paths/elsewhere").outcome == "path-unknown"


# --- A prefix that somebody else writes -------------------------------------------------------------------------------

# Where they are not dropped, they all become HTTP_SCRIPT_NAME and HTTP_PATH_INFO.
PREFIXES = [
    ("SCRIPT_NAME", "/paths/public"),
    ("Script_Name", "/paths/public"),
    ("Script-Name", "/paths/public"),
    ("PATH_INFO", "/paths/admin"),
    ("Path-Info", "/paths/admin"),
]


@every_server
@pytest.mark.parametrize("header", PREFIXES, ids=lambda header: str(header[0]))
def test_no_header_moves_the_prefix(fleet: Fleet, server: str, header: tuple[str, str]) -> None:
    """gunicorn believes SCRIPT_NAME from its own machine: the app would be asked for /paths/admin, as if public."""
    answer = knock(fleet, server, "/paths/public/paths/admin", [header])
    if answer.outcome == "let in":
        assert (answer.told["prefix"], answer.told["path"]) == ("", "/paths/public/paths/admin")
    else:
        assert answer.outcome == "path-ambiguous"


@pytest.mark.parametrize("server", ["gunicorn-plain", "gunicorn-gthread-plain"])
@pytest.mark.parametrize("value", ["/paths/public", "", "/paths"])
def test_gunicorn_s_prefix_from_a_header_is_refused(fleet: Fleet, server: str, value: str) -> None:
    """Whatever it says, and however often: whether it was the proxy that wrote it, nobody can tell."""
    for headers in ([("SCRIPT_NAME", value)], [("SCRIPT_NAME", value)] * 2):
        answer = knock(fleet, server, "/paths/public/paths/admin", headers)
        # With the prefix /paths, another door of this app would be asked for, and there is none.
        assert answer.outcome == ("server 500" if value == "/paths" else "path-ambiguous")


def test_a_prefix_that_the_owner_gives_is_part_of_the_path(fleet: Fleet) -> None:
    """gunicorn takes SCRIPT_NAME from its environment; the rules say the whole path, as the client does."""
    answer = knock(fleet, "gunicorn-prefixed", "/shop/paths/public/x")
    assert (answer.outcome, answer.told["prefix"], answer.told["path"]) == ("let in", "/shop", "/paths/public/x")
    # Without its prefix this path would be the administration's.
    assert knock(fleet, "gunicorn-prefixed", "/shop/paths/admin").outcome == "path-unknown"
    # gunicorn takes the prefix off inside a segment, too.
    assert knock(fleet, "gunicorn-prefixed", "/shop/paths/public/x", [("SCRIPT_NAME", "/sho")]).status >= 400


# --- Spellings --------------------------------------------------------------------------------------------------------

DISGUISED = ["%2F", "%2f", "%5C", "%2E", "%00", "%2525", "%252F"]


@every_server
@pytest.mark.parametrize("disguised", DISGUISED)
def test_a_character_in_disguise_is_refused(fleet: Fleet, server: str, disguised: str) -> None:
    """By what each of these servers keeps of the request line; Apache refuses some of them itself."""
    answer = knock(fleet, server, f"/paths/public/a{disguised}b")
    refused = {"path-ambiguous", *(("server 404", "server 400") if server.startswith("mod_wsgi") else ())}
    assert answer.outcome in refused


SPELLINGS = [
    "/paths/public/../admin",
    "/paths/public/%2e%2e/admin",
    "/paths/public/..%2fadmin",
    "/paths/public/..%5cadmin",
    "/paths/public/..\\admin",
    "/paths/public/%252e%252e/admin",
    "/paths//admin",
    "/paths/./admin",
    "/paths/%2e/admin",
    "/paths/admin;x",
    "/paths/admin%3bx",
    "/paths/ADMIN",
    "/paths/%61dmin",
    "/paths/admin/",
    "/paths/admin/../public/x",
    "/paths/public/..;/admin",
    "/paths/admin%00/../public/",
    "/paths/public/%c0%ae%c0%ae/admin",
    "/paths/\xef\xbd\x81dmin",
    "http://localhost/paths/admin",
    "/paths/admin?/paths/public/x",
    "/paths/admin#/paths/public/x",
    "/paths/admin%23/paths/public/x",
    "/paths/public/x/%2e%2e/%2e%2e/admin?x=/paths/public/",
]


@every_server
def test_no_spelling_of_a_protected_path_gets_through(fleet: Fleet, server: str) -> None:
    """What is let in is a path of the public part, without a way out of it; all else is refused, here or before."""
    for spelling in SPELLINGS:
        answer = knock(fleet, server, spelling)
        if answer.outcome == "let in":
            asked = answer.told["prefix"] + answer.told["path"]
            assert asked.startswith("/paths/public/"), spelling
            assert ".." not in asked, spelling
            assert "admin" not in asked, spelling
        else:
            assert answer.status == 0 or answer.status >= 400, spelling
