"""config.countries: databases of countries and cities, and what is none."""

# netaddr has no types.
# mypy: disable-error-code="import-untyped"

import sys
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from keyfob.config.building import assemble_document
from keyfob.config.countries import FindCountry, open_countries
from keyfob.config.files import Files
from keyfob.config.reading import Raw
from keyfob.errors import ConfigError, Problem
from keyfob.policy import Allow
from situations import ask_with

COUNTRIES = {"192.0.2.0/24": "PT", "2001:db8::/32": "DE", "198.51.100.0/24": ""}


def write(path: Path, kind: str, **more: Any) -> Path:
    """A database of the type `kind`, of COUNTRIES; where there is no country, as databases write that."""
    writer = MMDBWriter(6, kind, languages=["en"], ipv4_compatible=True, **more)
    for network, code in COUNTRIES.items():
        country = {"iso_code": code, "names": {"en": code}} if code else {}
        writer.insert_network(IPSet([network]), {"country": country, "registered_country": {"iso_code": "US"}})
    writer.to_db_file(str(path))
    return path


def open_at(path: Path) -> tuple[FindCountry | None, list[Problem]]:
    problems: list[Problem] = []
    return open_countries(path, Files(), problems), problems


@pytest.mark.parametrize("kind", ["GeoLite2-Country", "GeoLite2-City", "GeoIP2-Enterprise", "DBIP-Country-Lite"])
def test_a_database_tells_the_country_of_an_address(tmp_path: Path, kind: str) -> None:
    """IPv4 and IPv6; where it has none, nobody can tell, and where the network is registered is no answer."""
    find, problems = open_at(write(tmp_path / "geo.mmdb", kind))
    assert problems == []
    assert find is not None
    asked = ("192.0.2.7", "2001:db8::1", "198.51.100.1", "203.0.113.1", "2001:db9::1", "127.0.0.1")
    assert [find(ip_address(each)) for each in asked] == ["PT", "DE", None, None, None, None]


def test_a_database_of_ipv4_alone_knows_no_ipv6(tmp_path: Path) -> None:
    """And does not break on it."""
    writer = MMDBWriter(4, "GeoLite2-Country")
    writer.insert_network(IPSet(["192.0.2.0/24"]), {"country": {"iso_code": "PT"}})
    writer.to_db_file(str(tmp_path / "geo.mmdb"))
    find, _ = open_at(tmp_path / "geo.mmdb")
    assert find is not None
    assert [find(ip_address(each)) for each in ("192.0.2.7", "2001:db8::1")] == ["PT", None]


def test_a_database_without_countries_is_refused(tmp_path: Path) -> None:
    """It would answer nobody."""
    _, [problem] = open_at(write(tmp_path / "geo.mmdb", "GeoLite2-ASN"))
    assert (problem.place, "type 'GeoLite2-ASN', without countries" in problem.message) == ("geoip", True)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\xab\xcd\xefMaxMind.com" + b"\x00" * 40])
def test_a_broken_file_is_a_problem(tmp_path: Path, content: bytes) -> None:
    """With its name."""
    path = tmp_path / "geo.mmdb"
    path.write_bytes(content)
    find, [problem] = open_at(path)
    assert find is None
    assert problem.message.startswith(f"{path} cannot be used: ")


def test_a_database_that_was_cut_off_is_refused_or_tells_nothing(tmp_path: Path) -> None:
    """Half of a download has its end, with what the database says of itself, nowhere."""
    path = write(tmp_path / "geo.mmdb", "GeoLite2-Country")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert open_at(path)[0] is None


def test_a_damaged_database_tells_nothing_where_it_is_damaged(tmp_path: Path) -> None:
    """Nobody can tell, then: no request breaks."""
    path = write(tmp_path / "geo.mmdb", "GeoLite2-Country")
    octets = bytearray(path.read_bytes())
    at = octets.find(b"iso_code")
    octets[at - 12 : at + 12] = b"\xff" * 24
    path.write_bytes(octets)
    find, _ = open_at(path)
    assert find is None or find(ip_address("192.0.2.7")) is None


def test_a_missing_file_is_a_problem(tmp_path: Path) -> None:
    """As every file that is named."""
    _, [problem] = open_at(tmp_path / "gone.mmdb")
    assert "No such file" in problem.message


def test_a_missing_package_names_what_brings_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra of this library, as one installs it."""
    for name in ("geoip2", "geoip2.database", "geoip2.errors"):
        monkeypatch.setitem(sys.modules, name, None)
    _, [problem] = open_at(write(tmp_path / "geo.mmdb", "GeoLite2-Country"))
    assert problem == Problem("geoip", "needs the package geoip2", "pip install 'keyfob[geo]'")


def test_a_file_that_is_replaced_is_read_anew_and_the_old_one_stays_whole(tmp_path: Path) -> None:
    """Databases come anew twice a week, often over the old file."""
    path, files = write(tmp_path / "geo.mmdb", "GeoLite2-Country"), Files()
    old = open_countries(path, files, [])
    path.write_bytes(b"")
    assert old is not None
    assert old(ip_address("192.0.2.7")) == "PT"
    problems: list[Problem] = []
    files.begin()
    assert open_countries(path, files, problems) is None
    assert problems


def document(code: str, **more: Any) -> dict[str, Any]:
    rule = {"geo": {"country_code": code}}
    policies = [{"name": "Here", "decision": "bypass", "include": [rule]}]
    return {
        "source": {"kind": "tls"},
        "applications": [{"name": "App", "domain": "money.example.com", "policies": policies}],
    } | more


def test_rules_ask_the_database_that_the_configuration_names(tmp_path: Path) -> None:
    """From the file to the verdict."""
    write(tmp_path / "geo.mmdb", "GeoLite2-Country")
    admitted = {}
    for code in ("PT", "DE"):
        gate = assemble_document("-", Raw(document(code, geoip="geo.mmdb")), tmp_path, Files()).gate
        for client in ("192.0.2.7", "2001:db8::1", "203.0.113.1"):
            admitted[code, client] = isinstance(gate.check(ask_with(client=(client, 1))), Allow)
    assert [pair for pair, is_in in admitted.items() if is_in] == [("PT", "192.0.2.7"), ("DE", "2001:db8::1")]


def test_a_rule_about_countries_without_a_database_is_a_problem(tmp_path: Path) -> None:
    """It would never hold."""
    with pytest.raises(ConfigError, match="there is no database of countries"):
        assemble_document("-", Raw(document("PT")), tmp_path, Files())
