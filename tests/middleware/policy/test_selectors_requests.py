"""policy.selectors: where a request comes from, what it asks for, and when."""

from datetime import UTC, date, datetime, time, timedelta
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certificates import DAY, make_leaf
from keyfob.errors import KeyfobError
from keyfob.policy import Names, compile_rule
from keyfob.policy.selectors import parse_duration
from keyfob.policy.selectors.countries import COUNTRIES
from keyfob.policy.selectors.requests import FORWARDING
from keyfob.request import Request
from keyfob.sources import peers
from situations import AT, NOBODY, REQUEST, ROOT, ask_with, device, judge, refuse, show


def at_address(address: str | None) -> Request:
    return REQUEST._replace(client=None if address is None else ip_address(address))


@pytest.mark.parametrize(
    ("network", "client", "expected"),
    [
        ("192.0.2.0/24", "192.0.2.255", True),
        ("192.0.2.0/24", "192.0.3.0", False),
        ("192.0.2.7", "192.0.2.7", True),
        ("2001:db8::/32", "2001:db8::1", True),
        ("2001:db8::/32", "192.0.2.7", False),
        ("0.0.0.0/0", "192.0.2.7", True),
        ("0.0.0.0/0", "2001:db8::1", False),
        ("::ffff:192.0.2.0/120", "192.0.2.9", True),
        ("0.0.0.0/0", None, None),
    ],
)
def test_ip_is_the_clients_own_address(network: str, client: str | None, expected: bool | None) -> None:
    """In the network or not; an address that nobody knows may be in any."""
    for identity in (NOBODY, device("x")):
        assert judge({"ip": {"ip": network}}, identity, at_address(client)) is expected


@pytest.mark.parametrize(
    "written", ["192.0.2.7/24", "192.0.2", "", 3221225985, "localhost", ["192.0.2.7"], "192.0.2.7:80"]
)
def test_a_network_is_written_as_one(written: object) -> None:
    """Nothing is rounded or guessed."""
    assert "without bits beyond" in refuse({"ip": {"ip": written}})


V4, V6 = st.integers(0, 2**32 - 1), st.integers(0, 2**128 - 1)
NETWORKS = st.one_of(
    st.tuples(V4, st.integers(0, 32)).map(lambda pair: IPv4Network(pair, strict=False)),
    st.tuples(V6, st.integers(0, 128)).map(lambda pair: IPv6Network(pair, strict=False)),
)


@given(networks=st.lists(NETWORKS, max_size=8), address=st.ip_addresses(), pick=st.integers(0, 7))
def test_a_list_holds_what_any_of_its_networks_holds(
    networks: list[IPv4Network | IPv6Network], address: object, pick: int
) -> None:
    """The look-up by prefix, against asking every network."""
    clients = [ip_address(str(address)), *(network[-1] for network in networks[pick : pick + 1])]
    for client in clients:
        request = REQUEST._replace(client=client)
        found = judge({"ip_list": {"id": "x"}}, NOBODY, request, ip_lists={"x": tuple(networks)})
        assert found is any(client in network for network in networks)


def test_a_hidden_address_is_in_no_list_and_outside_none() -> None:
    """Nobody can tell, even of an empty one."""
    assert judge({"ip_list": {"id": "x"}}, NOBODY, REQUEST, ip_lists={"x": (ip_network("192.0.2.0/24"),)}) is None


@pytest.mark.parametrize(
    ("client", "expected"), [("192.0.2.7", True), ("192.0.2.8", False), ("192.0.2.9", None), (None, None)]
)
def test_a_country_is_the_databases_word(client: str | None, expected: bool | None) -> None:
    """An address that it does not place may be anywhere."""
    places = {ip_address("192.0.2.7"): "PT", ip_address("192.0.2.8"): "ES"}
    assert judge({"geo": {"country_code": "PT"}}, NOBODY, at_address(client), find_country=places.get) is expected


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("pt", "did you mean 'PT'?"),
        ("UK", 'did you mean "GB"?'),
        ("T1", "ip_list"),
        ("PRT", "no country"),
        ("XX", "no country"),
        ("", "is empty"),
    ],
)
def test_a_country_is_one_of_iso_3166(written: str, said: str) -> None:
    """A code that no database has would keep nobody out."""
    assert said in refuse({"geo": {"country_code": written}})


def test_the_countries_are_the_standards() -> None:
    """As the time zone database lists them, with Kosovo."""
    table = Path("/usr/share/zoneinfo/iso3166.tab")
    if not table.exists():
        pytest.skip("needs /usr/share/zoneinfo/iso3166.tab, of the package tzdata")
    lines = table.read_text(encoding="utf-8").splitlines()
    assert {line[:2] for line in lines if not line.startswith("#")} | {"XK"} == COUNTRIES


@pytest.mark.parametrize(
    ("sent", "expected"), [("DELETE", True), ("delete", None), ("Delete", None), ("GET", False), ("DELETED", False)]
)
def test_a_method_in_small_letters_is_unclear(sent: str, expected: bool | None) -> None:
    """Some frameworks make capitals of it, so that a rule against DELETE has to stop it, too."""
    assert judge({"method": {"method": "DELETE"}}, NOBODY, ask_with(method=sent)) is expected


def test_head_is_not_get_and_a_handshake_is() -> None:
    """RFC 6455 section 4.1; and routers that answer HEAD like GET do not make it one."""
    assert judge({"method": {"method": "GET"}}, NOBODY, ask_with(method="HEAD")) is False
    assert judge({"method": {"method": "GET"}}, NOBODY, ask_with(kind="websocket")) is True


@pytest.mark.parametrize("written", ["get", "GTE", "CONNECT", "*", "", ["GET"], "GET "])
def test_a_method_is_a_known_one(written: object) -> None:
    """A misspelled one would stop nobody."""
    assert refuse({"method": {"method": written}})


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([("x-role", "clerk")], True),
        ([("x-role", "Clerk")], False),
        ([("x-role", "clerks")], False),
        ([("x-role", "")], False),
        ([("x-rol", "clerk")], False),
        ([("x-roles", "clerk")], False),
        ([], False),
        ([("x-role", "clerk"), ("x-role", "clerk")], None),
        ([("x-role", "guest"), ("x-role", "clerk")], None),
        ([("x-role", "guest"), ("x-role", "boss")], None),
        ([("x_role", "clerk")], None),
        ([("x.role", "guest")], None),
        ([("x-role", "clerk"), ("x_role", "guest")], None),
        ([("x_role", "guest"), ("x-role", "clerk")], None),
        ([("x-role", "guest, clerk")], None),
        ([("x-role", "clerk,clerk")], None),
        ([("x-role", "guest, boss")], False),
        ([("x-role", "cl\xe9rk")], False),
    ],
)
def test_a_header_is_there_once_and_whole(headers: list[tuple[str, str]], expected: bool | None) -> None:
    """Twice, joined by a server, or under an alias: nobody can tell which the app reads."""
    assert judge({"header": {"name": "X-Role", "value": "clerk"}}, NOBODY, ask_with(*headers)) is expected


def test_a_value_with_commas_is_compared_whole() -> None:
    """It is no list unless somebody made one of it."""
    rule = {"header": {"name": "Accept", "value": {"equals": "text/html, */*"}}}
    assert judge(rule, NOBODY, ask_with(("accept", "text/html, */*"))) is True
    assert judge(rule, NOBODY, ask_with(("accept", "text/html"))) is False


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("X_Role", "x", "hyphens"),
        ("X-", "x", "hyphens"),
        ("", "x", "is empty"),
        ("Host", "x", "server's own"),
        ("Connection", "x", "server's own"),
        ("Forwarded", "for=192.0.2.7", "ip rule"),
        ("X-Forwarded-Proto", "https", "ip rule"),
        ("X-Role", "", "is empty"),
        ("X-Role", " x", "without blanks"),
        ("X-Role", "é", "printable ASCII"),
        ("X-Role", "x*", "equals"),
        ("X-Role", {"starts_with": "x"}, "compared whole"),
        ("X-Role", 5, "is not a text"),
    ],
)
def test_a_header_that_says_nothing_is_refused(name: str, value: object, said: str) -> None:
    """What anybody can write about an address, what servers use up, and what no server hands over."""
    assert said in refuse({"header": {"name": name, "value": value}})


def test_every_header_about_the_client_is_refused() -> None:
    """All that the sources of certificates know of."""
    assert {name.decode("ascii") for name in peers.FORWARDING} - {"x-forwarded-for"} <= FORWARDING
    for name in peers.FORWARDING:
        assert "ip rule" in refuse({"header": {"name": name.decode("ascii"), "value": "x"}})


def test_a_header_of_the_certificates_source_is_an_error() -> None:
    """The app never sees it, and a rule must not believe it either."""
    rule = {"header": {"name": "X-SSL-Client-Verify", "value": "SUCCESS"}}
    with pytest.raises(KeyfobError, match="source of certificates"):
        compile_rule(rule, Names(hides_header=lambda name: name == b"x-ssl-client-verify"))
    compile_rule(rule, Names(hides_header=lambda name: False))


LEAF = make_leaf(ROOT, begins=-10 * DAY, ends=20 * DAY)
BEGINS = LEAF.certificate.not_valid_before_utc.timestamp()
ENDS = LEAF.certificate.not_valid_after_utc.timestamp()


@pytest.mark.parametrize(
    ("rule", "at", "expected"),
    [
        ({"issued_within": {"issued_within": "1d"}}, BEGINS, True),
        ({"issued_within": {"issued_within": "1d"}}, BEGINS + 86_400, True),
        ({"issued_within": {"issued_within": "1d"}}, BEGINS + 86_400.5, False),
        ({"issued_within": {"issued_within": "1d"}}, BEGINS - 1, False),
        ({"expires_within": {"expires_within": "1d"}}, ENDS - 86_400, True),
        ({"expires_within": {"expires_within": "1d"}}, ENDS - 86_400.5, False),
        ({"expires_within": {"expires_within": "1d"}}, ENDS, True),
        ({"expires_within": {"expires_within": "1d"}}, ENDS + 1, True),
    ],
)
def test_a_certificates_age_is_that_at_the_request(rule: dict[str, dict[str, str]], at: float, expected: bool) -> None:
    """From notBefore to the request, and from the request to notAfter, the last moment included."""
    assert judge(rule, show(LEAF), REQUEST._replace(at=at)) is expected


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30m", 1800), ("2h45m", 9900), ("30d", 2_592_000), ("1d12h", 129_600), ("90s", 90), ("1d1h1m1s", 90_061)],
)
def test_a_duration_is_written_as_access_does(text: str, seconds: int) -> None:
    """With days, which it lacks."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "0", "0m", "30", "m", "1h30", "30m2h", "1.5h", "-1h", "1w", "1 h", "1H", "٣m", "1h\n"]
)
def test_anything_else_is_no_duration(text: str) -> None:
    """Nor is no time at all."""
    assert parse_duration(text) is None
    assert refuse({"issued_within": {"issued_within": text}})
    assert refuse({"expires_within": {"expires_within": text}})


DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
CLOCKS = st.integers(0, 24 * 60)
# With changes of the clock by an hour and by half an hour, at midnight, and of a whole day.
ZONES = st.sampled_from(
    [
        "UTC",
        "Europe/Lisbon",
        "America/New_York",
        "Australia/Lord_Howe",
        "Asia/Kathmandu",
        "Africa/Cairo",
        "Pacific/Apia",
    ]
)


def open_slowly(at: float, start: int, until: int, zone: str, days: list[str]) -> bool:
    """The windows of the days around it, one after the other, as a clock on the wall would show them."""
    now = datetime.fromtimestamp(at, UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    for back in (0, 1):
        day: date = now.date() - timedelta(days=back)
        midnight = datetime.combine(day, time())
        opens, closes = midnight + timedelta(minutes=start), midnight + timedelta(minutes=until)
        closes += timedelta(days=1) if until < start else timedelta()
        if DAYS[day.weekday()] in days and opens <= now < closes:
            return True
    return False


def write_clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


@given(
    at=st.floats(1_262_304_000, 1_893_456_000),
    start=st.integers(0, 24 * 60 - 1),
    until=CLOCKS,
    zone=ZONES,
    days=st.lists(st.sampled_from(DAYS), min_size=1, unique=True),
)
def test_a_window_is_open_as_a_slow_reading_has_it(
    at: float, start: int, until: int, zone: str, days: list[str]
) -> None:
    """Over midnight as well, where it belongs to the day on which it begins."""
    if start == until:
        until += 1
    window = {"from": write_clock(start), "until": write_clock(until), "zone": zone, "weekdays": days}
    expected = open_slowly(at, start, until, zone, days)
    assert judge({"time": window}, NOBODY, REQUEST._replace(at=at)) is expected


def is_open(moment: str, start: str, until: str, zone: str = "Europe/Lisbon", **more: list[str]) -> bool | None:
    at = datetime.fromisoformat(moment).timestamp()
    return judge({"time": {"from": start, "until": until, "zone": zone, **more}}, NOBODY, REQUEST._replace(at=at))


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-07-01T06:59:59.999+00:00", False),
        ("2026-07-01T07:00:00+00:00", True),
        ("2026-07-01T16:59:59.999+00:00", True),
        ("2026-07-01T17:00:00+00:00", False),
        ("2026-01-01T07:59:59+00:00", False),
        ("2026-01-01T08:00:00+00:00", True),
        ("2026-01-01T17:59:59+00:00", True),
        ("2026-01-01T18:00:00+00:00", False),
    ],
)
def test_a_window_follows_summer_time(moment: str, expected: bool) -> None:
    """Eight is eight by the clock in Lisbon, whatever that is in UTC; its last minute is outside."""
    assert is_open(moment, "08:00", "18:00") is expected


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        # On 29 March 2026 the clock goes from 00:59:59 to 02:00:00, on 25 October from 01:59:59 back to 01:00:00.
        ("2026-03-29T00:59:59+00:00", False),
        ("2026-03-29T01:00:00+00:00", False),
        ("2026-10-25T00:00:00+00:00", True),
        ("2026-10-25T00:59:59+00:00", True),
        ("2026-10-25T01:00:00+00:00", True),
        ("2026-10-25T01:59:59+00:00", True),
        ("2026-10-25T02:00:00+00:00", False),
    ],
)
def test_an_hour_that_is_skipped_never_opens_and_one_that_comes_twice_opens_twice(moment: str, expected: bool) -> None:
    """By the clock on the wall."""
    assert is_open(moment, "01:00", "02:00") is expected


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-07-03T21:59:00+00:00", False),
        ("2026-07-03T22:00:00+00:00", True),
        ("2026-07-04T05:59:59+00:00", True),
        ("2026-07-04T06:00:00+00:00", False),
        ("2026-07-04T22:00:00+00:00", False),
        ("2026-07-03T05:00:00+00:00", False),
    ],
)
def test_a_night_belongs_to_the_day_on_which_it_begins(moment: str, expected: bool) -> None:
    """Friday night goes on into Saturday; the early hours of Friday are Thursday's night."""
    assert is_open(moment, "22:00", "06:00", "UTC", weekdays=["friday"]) is expected


def test_a_whole_day_can_be_written() -> None:
    """From its first minute to its last; 3 July 2026 is a Friday."""
    for moment, expected in [("2026-07-03T00:00", True), ("2026-07-03T23:59:59", True), ("2026-07-04T00:00", False)]:
        assert is_open(f"{moment}+00:00", "00:00", "24:00", "UTC", weekdays=["friday"]) is expected


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"from": "8:00"}, 'write "08:00"'),
        ({"from": "08:00:00"}, 'write "08:00"'),
        ({"from": 8}, "is not a text"),
        ({"from": "24:00"}, 'write from = "00:00"'),
        ({"from": "18:00"}, "same minute"),
        ({"until": "25:00"}, 'write "08:00"'),
        ({"until": "24:01"}, 'write "08:00"'),
        ({"zone": "Europe/Lisbonn"}, "did you mean 'Europe/Lisbon'?"),
        ({"zone": "europe/lisbon"}, "did you mean 'Europe/Lisbon'?"),
        ({"zone": "Europe"}, "no time zone"),
        ({"zone": "localtime"}, "no time zone"),
        ({"zone": "right/UTC"}, "no time zone"),
        ({"zone": "../UTC"}, "no time zone"),
        ({"zone": "/etc/localtime"}, "no time zone"),
        ({"zone": "+01:00"}, "no time zone"),
        ({"weekdays": []}, "leave it out"),
        ({"weekdays": "monday"}, "list of days"),
        ({"weekdays": ["Monday"]}, "did you mean 'monday'?"),
        ({"weekdays": ["mon"]}, "did you mean"),
        ({"weekdays": ["monday", "monday"]}, "each day once"),
        ({"start": 8}, "Extra inputs"),
    ],
)
def test_a_window_that_cannot_be_obeyed_is_refused(change: dict[str, object], said: str) -> None:
    """With what is right."""
    window = {"from": "08:00", "until": "18:00", "zone": "Europe/Lisbon"}
    assert said in refuse({"time": {**window, **change}})


@pytest.mark.parametrize("missing", ["from", "until", "zone"])
def test_no_part_of_a_window_is_guessed(missing: str) -> None:
    """The machine's own zone least of all."""
    window = {"from": "08:00", "until": "18:00", "zone": "Europe/Lisbon"}
    del window[missing]
    assert "required" in refuse({"time": window})


def test_the_moment_of_the_test_is_inside_its_certificates() -> None:
    """What the other cases rest on."""
    assert BEGINS < AT < ENDS
