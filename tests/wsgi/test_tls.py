"""The TLS layer's own certificate, on every WSGI server that has a TLS layer."""

import ssl

import pytest

from deploy.forgeries import Headers
from wsgi.fleet import Fleet
from wsgi.wire import Answer, ask_tls, write_request
from wsgi.world import BUNDLE_HOST, HOST, World

PYPI = ["gunicorn", "gunicorn-gthread", "cheroot", "werkzeug"]
DEBIAN = ["uwsgi", "mod_wsgi", "mod_wsgi-optional_no_ca"]
every_server = pytest.mark.parametrize("server", [*PYPI, *DEBIAN])
both_versions = pytest.mark.parametrize(
    "version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda version: str(version.name)
)

# Those that hand over what the client sent after its leaf, and those that resume sessions.
WITH_CHAIN = {"gunicorn", "gunicorn-gthread", "werkzeug", "mod_wsgi", "mod_wsgi-optional_no_ca"}
RESUMING = {"cheroot", "uwsgi", "werkzeug", "mod_wsgi", "mod_wsgi-optional_no_ca"}


def knock(
    fleet: Fleet,
    server: str,
    client: ssl.SSLContext,
    host: str = HOST,
    *,
    headers: Headers = (),
    session: ssl.SSLSession | None = None,
) -> Answer:
    """Asks the door whose source is `tls`."""
    return ask_tls(fleet[server], client, write_request("/tls", headers, host), session=session)


@every_server
@both_versions
def test_a_known_device_is_known(fleet: Fleet, world: World, server: str, version: ssl.TLSVersion) -> None:
    """By the name in its certificate."""
    answer = knock(fleet, server, world.client("valid", version))
    assert (answer.status, answer.told.get("common_name")) == (200, "Own device")


@every_server
def test_a_visitor_without_a_certificate_is_refused(fleet: Fleet, world: World, server: str) -> None:
    """By the app, with its reason: the handshake lets everybody in."""
    assert knock(fleet, server, world.client()).outcome == "certificate-missing"


@every_server
@pytest.mark.parametrize("device", ["stranger", "expired"])
def test_a_certificate_that_is_no_good_is_refused(fleet: Fleet, world: World, server: str, device: str) -> None:
    """By the handshake, or where Apache was told to let it through, here."""
    answer = knock(fleet, server, world.client(device))
    passes = server == "mod_wsgi-optional_no_ca" and device == "stranger"
    assert answer.outcome == ("certificate-untrusted" if passes else "hung up")


@every_server
def test_an_intermediate_is_taken_from_the_client_or_from_the_configuration(
    fleet: Fleet, world: World, server: str
) -> None:
    """Not every server hands over more than the leaf; beside the root the intermediate always counts."""
    nested = world.client("nested")
    assert knock(fleet, server, nested, BUNDLE_HOST).told.get("common_name") == "Nested device"
    outcome = knock(fleet, server, nested).outcome
    assert outcome == ("let in" if server in WITH_CHAIN else "certificate-untrusted")


@every_server
@both_versions
def test_a_resumed_session_is_checked_like_any_other(
    fleet: Fleet, world: World, server: str, version: ssl.TLSVersion
) -> None:
    """It brings back the leaf alone, and the leaf is verified again."""
    for name, host, outcome in [
        ("valid", HOST, "let in"),
        ("nested", BUNDLE_HOST, "let in"),
        ("nested", HOST, "certificate-untrusted"),
        (None, HOST, "certificate-missing"),
    ]:
        client = world.client(name, version)
        first = knock(fleet, server, client, host)
        second = knock(fleet, server, client, host, session=first.session)
        assert second.resumed == (server in RESUMING)
        if second.resumed or server not in WITH_CHAIN:
            assert second.outcome == outcome
        else:
            assert second.outcome == first.outcome


IMITATIONS = [
    "SSL-Client-Verify",
    "SSL-Client-Cert",
    "SSL_CLIENT_VERIFY",
    "SSL_CLIENT_CERT",
    "HTTP-SSL-Client-Cert",
    "HTTPS-Client-Certificate",
    "HTTPS_CLIENT_CERTIFICATE",
    "S-Client-Certificate",
    "HTTPS-CC",
    "UWSGI-Router",
    "X-SSL-Client-Cert",
    "Mod-Wsgi.Version",
    "Gunicorn.Socket",
    "Keyfob.Identity",
    "keyfob.identity",
]


@every_server
def test_headers_that_imitate_the_servers_variables_do_nothing(fleet: Fleet, world: World, server: str) -> None:
    """Whatever they are called, and whether the one who sends them has a certificate or not."""
    pem = dict(world.claims["nginx"])["X-SSL-Client-Cert"]
    forged = [(name, "SUCCESS" if name.lower().endswith("verify") else pem) for name in IMITATIONS]
    forged += [("X-SSL-Client-Verify", "SUCCESS"), ("X-Forwarded-Proto", "https"), ("HTTPS", "on")]
    assert knock(fleet, server, world.client(), headers=forged).outcome == "certificate-missing"
    for each in forged:
        answer = knock(fleet, server, world.client(), headers=[each])
        assert answer.outcome == "certificate-missing", each
    for headers in (forged[:4], forged[-4:]):
        answer = knock(fleet, server, world.client("valid"), headers=headers)
        assert answer.told.get("common_name") == "Own device"


@pytest.mark.parametrize("server", ["uwsgi-over-tcp", "uwsgi-https-socket"])
def test_uwsgis_word_is_not_taken_over_a_port(fleet: Fleet, world: World, server: str) -> None:
    """There, whoever is on the machine can speak to the worker in the router's place."""
    assert knock(fleet, server, world.client("valid")).outcome == "certificate-not-requested"
