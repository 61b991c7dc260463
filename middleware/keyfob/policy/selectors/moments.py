"""Selectors that look at the moment of the request: the hour, and how old or how near its end a certificate is."""

import re
from datetime import datetime
from functools import cache
from typing import Annotated, Self
from zoneinfo import ZoneInfo, available_timezones

from pydantic import Field, PlainValidator, model_validator

from keyfob.policy.decision import Identity
from keyfob.policy.rules import Test
from keyfob.policy.selectors.arguments import Argument, Seconds, read_text, read_word, unknown, wrong
from keyfob.policy.selectors.names import Names
from keyfob.policy.selectors.selector import Selector
from keyfob.request import Request


class IssuedWithin(Argument):
    """How long ago, at the most, the certificate's validity began."""

    issued_within: Seconds


def _issued_within(argument: IssuedWithin, _: Names) -> Test:
    most = argument.issued_within

    def test(request: Request, identity: Identity) -> bool:
        certificate = identity.certificate
        return certificate is not None and 0 <= request.at - certificate.not_valid_before.timestamp() <= most

    return test


class ExpiresWithin(Argument):
    """How long from now, at the most, the certificate's validity goes on."""

    expires_within: Seconds


def _expires_within(argument: ExpiresWithin, _: Names) -> Test:
    most = argument.expires_within

    def test(request: Request, identity: Identity) -> bool:
        certificate = identity.certificate
        return certificate is not None and certificate.not_valid_after.timestamp() - request.at <= most

    return test


_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])|24:00", re.ASCII)
MIDNIGHT = 24 * 60


def _read_minute(value: object) -> int:
    """Minutes since midnight."""
    text = read_text(value)
    match = _CLOCK.fullmatch(text)
    if match is None:
        raise wrong(f"{text!r} is no time of day", 'write "08:00", or "24:00" for the end of the day')
    return MIDNIGHT if match[1] is None else int(match[1]) * 60 + int(match[2])


@cache
def _find_zones() -> frozenset[str]:
    # The machine's own zone, whatever it is, and a zone that nobody lives in.
    return frozenset(available_timezones()) - {"localtime", "Factory"}


def _read_zone(value: object) -> ZoneInfo:
    text = read_text(value)
    zones = _find_zones()
    if not zones:
        raise wrong("this machine knows no time zones", "pip install tzdata")
    if text not in zones:
        raise unknown("time zone", text, zones)
    return ZoneInfo(text)


_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def _read_weekdays(value: object) -> frozenset[int]:
    if not isinstance(value, list) or not value:
        raise wrong("is no list of days", 'write ["monday", "friday"], or leave it out for every day')
    read_day = read_word("day of the week", {name: number for number, name in enumerate(_DAYS)})
    days = [read_day(each) for each in value]
    if len(set(days)) != len(days):
        raise wrong("names a day twice", "name each day once")
    return frozenset(days)


class Time(Argument):
    """A window of the day, from its first minute up to and without its last, by the clocks of one time zone."""

    start: Annotated[int, PlainValidator(_read_minute), Field(alias="from")]
    until: Annotated[int, PlainValidator(_read_minute)]
    zone: Annotated[ZoneInfo, PlainValidator(_read_zone)]
    weekdays: Annotated[frozenset[int], PlainValidator(_read_weekdays)] = frozenset(range(7))

    @model_validator(mode="after")
    def _is_a_window(self) -> Self:
        if self.start == MIDNIGHT:
            raise wrong("no day has anything behind 24:00", 'write from = "00:00"')
        if self.start == self.until:
            raise wrong(
                "begins and ends in the same minute", 'for the whole day, write from = "00:00", until = "24:00"'
            )
        return self


def _time(argument: Time, _: Names) -> Test:
    """By the clock on the wall. Where that is put back, its hour comes twice and the window is so much longer; where it
    is put forward, an hour is not there, and a window within it does not open on that day.
    """
    start, until, zone, days = argument.start, argument.until, argument.zone, argument.weekdays
    overnight = until < start

    def test(request: Request, _: Identity) -> bool:
        now = datetime.fromtimestamp(request.at, zone)
        minute, day = now.hour * 60 + now.minute, now.weekday()
        if not overnight:
            return start <= minute < until and day in days
        # Behind midnight it is still the window of the day before.
        return (minute >= start and day in days) or (minute < until and (day - 1) % 7 in days)

    return test


MOMENT_SELECTORS = {
    "issued_within": Selector(
        IssuedWithin,
        _issued_within,
        '{ issued_within = { issued_within = "30d" } }',
        needs_certificate=True,
        looks_at_request=True,
    ),
    "expires_within": Selector(
        ExpiresWithin,
        _expires_within,
        '{ expires_within = { expires_within = "7d" } }',
        needs_certificate=True,
        looks_at_request=True,
    ),
    "time": Selector(
        Time,
        _time,
        '{ time = { from = "08:00", until = "18:00", zone = "Europe/Lisbon", weekdays = ["monday", "friday"] } }',
        looks_at_request=True,
    ),
}
