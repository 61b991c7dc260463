"""Which country an address is in, from a database in MaxMind's format."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from keyfob.addresses import Address
from keyfob.config.files import Files
from keyfob.errors import Problem

if TYPE_CHECKING:
    from geoip2.database import Reader
    from geoip2.models import Country

FindCountry = Callable[[Address], str | None]


def open_countries(path: Path, files: Files, problems: list[Problem]) -> FindCountry | None:
    """A function from an address to its upper-case ISO 3166-1 code, None where the database has none."""
    try:
        return files.parse(path, "geoip", _read)
    except ModuleNotFoundError:
        problems.append(Problem("geoip", "needs the package geoip2", "pip install 'keyfob[geo]'"))
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or str(error)
        hint = "name a database of countries or cities, such as GeoLite2-Country.mmdb"
        problems.append(Problem("geoip", f"{path} cannot be used: {said}", hint))
    return None


# How many addresses are remembered with their countries: a look-up takes as long as the rest of a decision.
REMEMBERED = 4096
# What comes of reading where a file is damaged: the library checks little of what it meets there.
_DAMAGED = (ArithmeticError, LookupError, TypeError, ValueError, RecursionError)


def _read(path: Path) -> FindCountry:
    from geoip2.database import Reader  # noqa: PLC0415 - an extra, asked for by whoever writes geoip
    from geoip2.errors import AddressNotFoundError  # noqa: PLC0415
    from maxminddb import MODE_MEMORY, InvalidDatabaseError  # noqa: PLC0415

    try:
        # In memory: a file that is replaced in place must not change under an open reader.
        reader = Reader(path, mode=MODE_MEMORY)
    except (InvalidDatabaseError, *_DAMAGED) as error:
        raise ValueError("it is no database in MaxMind's format, or not all of one") from error
    look_up = _choose(reader)

    @lru_cache(REMEMBERED)
    def find_country(address: Address) -> str | None:
        try:
            found = look_up(str(address)).country.iso_code
        except (AddressNotFoundError, InvalidDatabaseError, *_DAMAGED):
            # Also for an IPv6 address in a database of IPv4 alone.
            return None
        return found if isinstance(found, str) else None

    return find_country


def _choose(reader: "Reader") -> Callable[..., "Country"]:
    kind = reader.metadata().database_type
    if "Country" in kind:
        return reader.country
    if "Enterprise" in kind:
        return reader.enterprise
    if "City" in kind:
        return reader.city
    raise ValueError(f"it is a database of the type {kind!r}, without countries")
