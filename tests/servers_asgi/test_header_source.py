"""A certificate in headers, on every server: the test plays the proxy, and those who would like to be taken for it."""

from collections.abc import Sequence

import pytest

from deploy.forgeries import Header
from deploy.wire import Answer
from servers_asgi.keys import SECRET, Keys
from servers_asgi.records import find_record
from servers_asgi.starting import EVERY, OURS, SERVERS, Fleet
from servers_asgi.wire import STRANGER, ask, ask_websocket, send, write_chunked

FOREIGN = "203.0.113.9"
KINDS = {"http": ask, "websocket": ask_websocket}
LET_IN = {"http": 200, "websocket": 101}
ALIASES = ["X_SSL_Client_Cert", "X.SSL.Client.Cert", "X-SSL_Client-Cert", "x_ssl-client.cert", "X-SSL-Client_Verify"]

REWRITING = [name for name, server in SERVERS.items() if server.rewrites]
KEEPING = [name for name, server in SERVERS.items() if not server.rewrites]


def was_let_in(answer: Answer, kind: str = "http") -> bool:
    """As the device, whose certificate the app sees."""
    return answer.status == LET_IN[kind] and bool(answer.told["common_name"] == "Rhea Group")


class TestAProxyOnAPort:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("name", SERVERS)
    def test_is_believed(self, fleet: Fleet, keys: Keys, name: str, kind: str) -> None:
        """HTTP and WebSocket alike."""
        assert was_let_in(KINDS[kind](fleet.on_port(name).at, "/address", keys.claim), kind)

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("name", SERVERS)
    def test_brings_nobody_in_without_a_certificate(self, fleet: Fleet, name: str, kind: str) -> None:
        """A WebSocket is refused before it is accepted; gunicorn alone does so without the reason."""
        answer = KINDS[kind](fleet.on_port(name).at, "/address", [("X-SSL-Client-Verify", "NONE")])
        expected = "proxy 403" if (name, kind) == ("gunicorn", "websocket") else "certificate-missing"
        assert answer.refusal == expected

    @pytest.mark.parametrize("name", SERVERS)
    def test_whose_headers_the_app_does_not_see(self, fleet: Fleet, keys: Keys, name: str) -> None:
        """Nobody behind the gate has to know which of them to believe."""
        answer = ask(fleet.on_port(name).at, "/address", [*keys.claim, ("X-Client-Cert", "forged"), ("X-Other", "1")])
        names = {header for header, _ in answer.told["headers"]}
        assert "x-other" in names
        assert names.isdisjoint({"x-ssl-client-cert", "x-ssl-client-verify", "x-client-cert"})

    @pytest.mark.parametrize("name", KEEPING)
    def test_may_name_the_client(self, fleet: Fleet, keys: Keys, name: str) -> None:
        """X-Forwarded-For says nothing about the proxy itself."""
        assert was_let_in(ask(fleet.on_port(name).at, "/address", [*keys.claim, ("X-Forwarded-For", FOREIGN)]))

    @pytest.mark.parametrize("name", REWRITING)
    def test_that_names_the_client_to_a_rewriting_server_cannot_be_told_from_it(
        self, fleet: Fleet, keys: Keys, name: str
    ) -> None:
        """The server says that the request came from there. The log says what is the matter, and what to do."""
        server = fleet.on_port(name)
        answer = ask(server.at, "/address", [*keys.claim, ("X-Forwarded-For", FOREIGN)])
        assert (answer.status, answer.refusal) == (403, "peer-unclear")
        record = find_record(server, answer)
        assert record["peer"] == FOREIGN
        assert record["address"] is None
        said, _, hint = record["detail"].partition("; hint: ")
        assert "x-forwarded-for" in said
        # Both cures are servers of the table, where they are tested.
        assert OURS in hint
        assert "--no-proxy-headers" in hint

    @pytest.mark.parametrize("name", SERVERS)
    def test_that_seems_to_name_itself_is_believed_where_its_address_is_known(
        self, fleet: Fleet, keys: Keys, name: str
    ) -> None:
        """Elsewhere somebody may be speaking in its name."""
        answer = ask(fleet.on_port(name).at, "/address", [*keys.claim, ("X-Forwarded-For", "127.0.0.1")])
        if SERVERS[name].knows_peer:
            assert was_let_in(answer)
        else:
            assert answer.refusal == "peer-unclear"


class TestAmbiguousHeaders:
    """Whoever writes them, even the proxy: nobody can tell which of them it vouches for."""

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("name", SERVERS)
    def test_a_second_one(self, fleet: Fleet, keys: Keys, name: str, kind: str) -> None:
        """The certificate twice, or its verdict."""
        for again in keys.claim:
            answer = KINDS[kind](fleet.on_port(name).at, "/address", [*keys.claim, again])
            assert not was_let_in(answer, kind)
            if kind == "http":
                assert (answer.status, answer.refusal) == (400, "header-malformed")

    @pytest.mark.parametrize("alias", ALIASES)
    @pytest.mark.parametrize("name", SERVERS)
    def test_an_alias_beside_the_real_one(self, fleet: Fleet, keys: Keys, name: str, alias: str) -> None:
        """gunicorn drops names with an underscore before anybody sees them, and then there is nothing to doubt."""
        answer = ask(fleet.on_port(name).at, "/address", [(alias, "SUCCESS"), *keys.claim])
        if name == "gunicorn" and "_" in alias:
            assert was_let_in(answer)
        else:
            assert (answer.status, answer.refusal) == (400, "header-malformed")

    @pytest.mark.parametrize("mark", ["_", "."])
    @pytest.mark.parametrize("name", SERVERS)
    def test_aliases_alone(self, fleet: Fleet, keys: Keys, name: str, mark: str) -> None:
        """None of them is the header."""
        claim = [(header.replace("-", mark), value) for header, value in keys.claim]
        answer = ask(fleet.on_port(name).at, "/address", claim)
        assert answer.refusal in {"header-malformed", "certificate-missing"}

    @pytest.mark.parametrize("name", SERVERS)
    def test_letter_case_makes_no_difference(self, fleet: Fleet, keys: Keys, name: str) -> None:
        """RFC 9110 section 5.1: in another case it is the same header, and twice is twice."""
        swapped = [(header.swapcase(), value) for header, value in keys.claim]
        assert was_let_in(ask(fleet.on_port(name).at, "/address", swapped))
        assert ask(fleet.on_port(name).at, "/address", [*keys.claim, *swapped]).refusal == "header-malformed"


@pytest.mark.parametrize("name", SERVERS)
def test_a_header_that_is_too_large_is_refused_by_its_size(fleet: Fleet, name: str) -> None:
    """By gunicorn itself, which has a smaller limit of its own."""
    headers = [("X-SSL-Client-Cert", "A" * 17_000), ("X-SSL-Client-Verify", "SUCCESS")]
    answer = ask(fleet.on_port(name).at, "/address", headers)
    assert answer.status == 431
    assert answer.refusal == ("proxy 431" if name == "gunicorn" else "header-too-large")


class TestAStranger:
    """Whoever reaches the server's port from another address than the proxy's."""

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("name", EVERY)
    def test_is_not_believed(self, fleet: Fleet, keys: Keys, name: str, kind: str) -> None:
        """The very headers that the proxy would write."""
        answer = KINDS[kind](fleet.on_port(name).at, "/address", keys.claim, source=STRANGER)
        assert not was_let_in(answer, kind)
        if kind == "http":
            assert (answer.status, answer.refusal) == (403, "peer-not-trusted")

    @pytest.mark.parametrize("name", SERVERS)
    def test_is_named_in_the_log(self, fleet: Fleet, keys: Keys, name: str) -> None:
        """By the address that it came from."""
        server = fleet.on_port(name)
        record = find_record(server, ask(server.at, "/address", keys.claim, source=STRANGER))
        assert (record["reason"], record["peer"], record["address"]) == ("peer-not-trusted", STRANGER, STRANGER)


class TestASharedSecret:
    """For proxies without an address that stays."""

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("source", ["127.0.0.1", STRANGER])
    @pytest.mark.parametrize("name", SERVERS)
    def test_is_believed_from_anywhere(self, fleet: Fleet, keys: Keys, name: str, source: str, kind: str) -> None:
        """Whatever the forwarding headers say, and whatever the server makes of them."""
        headers = [*keys.claim, ("X-Proxy-Secret", SECRET), ("X-Forwarded-For", FOREIGN)]
        assert was_let_in(KINDS[kind](fleet.on_port(name).at, "/secret", headers, source=source), kind)

    @pytest.mark.parametrize("name", SERVERS)
    def test_is_hidden_from_the_app(self, fleet: Fleet, keys: Keys, name: str) -> None:
        """Or the app could lose it."""
        answer = ask(fleet.on_port(name).at, "/secret", [*keys.claim, ("X-Proxy-Secret", SECRET)])
        assert SECRET not in answer.body.decode()

    @pytest.mark.parametrize(
        "secrets",
        [
            [],
            [("X-Proxy-Secret", "")],
            [("X-Proxy-Secret", SECRET[:-1])],
            [("X-Proxy-Secret", SECRET), ("X-Proxy-Secret", SECRET)],
            [("X_Proxy_Secret", SECRET)],
        ],
        ids=["none", "empty", "wrong", "twice", "alias"],
    )
    @pytest.mark.parametrize("name", SERVERS)
    def test_that_is_not_there_exactly_once_is_none(
        self, fleet: Fleet, keys: Keys, name: str, secrets: Sequence[Header]
    ) -> None:
        """From the proxy's own address, too."""
        answer = ask(fleet.on_port(name).at, "/secret", [*keys.claim, *secrets])
        assert (answer.status, answer.refusal) == (403, "peer-not-trusted")

    @pytest.mark.parametrize("name", SERVERS)
    def test_with_addresses_both_are_asked_for(self, fleet: Fleet, keys: Keys, name: str) -> None:
        """The secret from elsewhere is not enough, nor is the address without it."""
        at, headers = fleet.on_port(name).at, [*keys.claim, ("X-Proxy-Secret", SECRET)]
        assert was_let_in(ask(at, "/secret-and-address", headers))
        assert ask(at, "/secret-and-address", headers, source=STRANGER).refusal == "peer-not-trusted"
        assert ask(at, "/secret-and-address", keys.claim).refusal == "peer-not-trusted"


class TestAProxyOnAUnixSocket:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("forwarded", [[], [("X-Forwarded-For", FOREIGN)], [("X-Forwarded-For", "127.0.0.1")]])
    @pytest.mark.parametrize("name", SERVERS)
    def test_is_believed(self, fleet: Fleet, keys: Keys, name: str, forwarded: Sequence[Header], kind: str) -> None:
        """It has no address that anything could be written over."""
        assert was_let_in(KINDS[kind](fleet.on_socket(name).at, "/unix", [*keys.claim, *forwarded]), kind)

    @pytest.mark.parametrize("name", EVERY)
    def test_is_not_believed_where_only_addresses_are(self, fleet: Fleet, keys: Keys, name: str) -> None:
        """Not by what it says about itself either."""
        for forwarded in ([], [("X-Forwarded-For", "127.0.0.1")]):
            answer = ask(fleet.on_socket(name).at, "/address", [*keys.claim, *forwarded])
            assert answer.refusal in {"peer-not-trusted", "peer-unclear"}

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("name", EVERY)
    def test_is_not_somebody_who_comes_to_a_port(self, fleet: Fleet, keys: Keys, name: str, kind: str) -> None:
        """Where UNIX sockets alone are believed, nobody with an address is."""
        answer = KINDS[kind](fleet.on_port(name).at, "/unix", keys.claim)
        assert not was_let_in(answer, kind)
        if kind == "http":
            assert answer.refusal == "peer-not-trusted"


class TestAChunkedBody:
    """RFC 9112 section 7.1: it may have trailers, and proxies such as HAProxy pass them on as the client wrote them."""

    @pytest.mark.parametrize("name", EVERY)
    def test_ends_with_nothing_that_counts(self, fleet: Fleet, keys: Keys, name: str) -> None:
        """Although the proxy sent no such header, so that there is nothing to contradict it."""
        answer = send(fleet.on_port(name).at, write_chunked("/rfc9440", (), keys.rfc9440))
        assert not was_let_in(answer)

    @pytest.mark.parametrize("name", EVERY)
    def test_ends_with_nothing_that_counts_where_the_proxy_is_known_by_its_secret(
        self, fleet: Fleet, keys: Keys, name: str
    ) -> None:
        """The proxy vouches for what it sent before the body, and for nothing else."""
        request = write_chunked("/rfc9440-secret", [("X-Proxy-Secret", SECRET)], keys.rfc9440)
        assert not was_let_in(send(fleet.on_port(name).at, request))

    @pytest.mark.parametrize("name", SERVERS)
    def test_gets_in_where_it_is_known_to_end_with_nothing_that_counts(
        self, fleet: Fleet, keys: Keys, name: str
    ) -> None:
        """That is: on a server of ours. Elsewhere the log says why not."""
        server = fleet.on_port(name)
        answer = send(server.at, write_chunked("/rfc9440", keys.rfc9440, ()))
        if SERVERS[name].knows_peer:
            assert was_let_in(answer)
        else:
            assert (answer.status, answer.refusal) == (403, "peer-unclear")
            record = find_record(server, answer)
            assert "the request is chunked" in record["detail"]
            assert OURS in record["detail"]

    @pytest.mark.parametrize("name", EVERY)
    def test_ends_with_no_address(self, fleet: Fleet, name: str) -> None:
        """The proxy's own X-Forwarded-For would stand before it, and the nearest hop is the last."""
        nearest, forged = [("X-Forwarded-For", "198.51.100.1")], [("X-Forwarded-For", "203.0.113.7")]
        answer = send(fleet.on_port(name).at, write_chunked("/office", nearest, forged))
        assert not answer.reached_the_app
