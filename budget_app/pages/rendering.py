"""Pages as HTML. What people typed is escaped and set apart by <bdi>; sentences come from the catalogues."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime
from functools import lru_cache, singledispatch
from gettext import NullTranslations
from itertools import groupby
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jinja2.ext import Extension
from markupsafe import Markup, escape

from budget_app.entries import MAX_NOTE
from budget_app.items import CategorySpending, Item, Query, Suggestion
from budget_app.pages.charts import draw_categories, draw_months
from budget_app.pages.fields import fill_in, fill_in_again
from budget_app.pages.links import link_copy, link_entries, link_entry, link_month
from budget_app.pages.page import (
    DevicesPage,
    EditPage,
    EntriesPage,
    FormPage,
    Frame,
    HealthPage,
    NoticePage,
    OverviewPage,
    Page,
)
from budget_app.pages.script_words import translate_scripts
from budget_app.words import Words

_TEMPLATES = Path(__file__).parents[1] / "templates"
Parts = dict[str, Any]


class Unindent(Extension):
    """Takes the indentation off the templates, which would be a fifth of what a phone has to load."""

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        return re.sub(r"\n[ \n]+", "\n", source)


def _build_environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        extensions=[Unindent],
    )
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "separators": (",", ":")}
    environment.filters |= {"bdi": set_apart, "begin": begin, "stop": stop}
    environment.globals |= {
        "link_copy": link_copy,
        "link_entries": link_entries,
        "link_entry": link_entry,
        "link_month": link_month,
        "max_note": MAX_NOTE,
    }
    return environment


def set_apart(text: object) -> Markup:
    """Text that a person typed, whose direction is its own."""
    return Markup("<bdi>{}</bdi>").format(text)


def begin(text: str) -> str:
    """The same with a capital letter in front, for where a sentence begins."""
    return text[:1].upper() + text[1:]


def stop(text: str) -> str:
    """The same with a full stop, unless it has one."""
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


_environment = _build_environment()


def render(page: Page) -> str:
    """The page as a whole HTML document."""
    words = page.words if isinstance(page, NoticePage) else page.frame.words
    name, parts = _lay_out(page)
    return _environment.get_template(name).render(
        page=page,
        frame=None if isinstance(page, NoticePage) else page.frame,
        words=words,
        money=words.money,
        count=words.count,
        _=_say_safely(words),
        say_sentence=words.say_sentence,
        **parts,
    )


def _say_safely(words: Words) -> Callable[..., Markup]:
    """How templates say a sentence: markup in the values stays what it is, all other text is escaped."""

    def say(text: str, /, **values: object) -> Markup:
        translated = _translate(words.translations, text)
        return translated.format(**values) if values else translated

    return say


@lru_cache(maxsize=2048)
def _translate(translations: NullTranslations, text: str) -> Markup:
    return escape(translations.gettext(text))


@singledispatch
def _lay_out(page: Page) -> tuple[str, Parts]:
    """The name of the template, and what it needs beside the page itself."""
    raise TypeError(page)


@_lay_out.register
def _(page: FormPage) -> tuple[str, Parts]:
    frame = page.frame
    return "form.html", {
        "fields": fill_in(page),
        "day": _name_days(frame),
        "suggestions": [_describe(each, page.frame.words) for each in page.suggestions],
        "script_words": translate_scripts(frame.words),
    }


@_lay_out.register
def _(page: EditPage) -> tuple[str, Parts]:
    return "edit.html", {"fields": fill_in_again(page), "day": _name_days(page.frame)}


@_lay_out.register
def _(page: EntriesPage) -> tuple[str, Parts]:
    return "entries.html", {
        "days": tuple(_group_by_day(page.found.items, page.frame)),
        "day": _name_days(page.frame),
        "narrowed": page.query != Query(),
        "back": link_entries(page.query, page.page),
    }


@_lay_out.register
def _(page: OverviewPage) -> tuple[str, Parts]:
    spending, words = page.spending, page.frame.words
    categories = spending.categories
    if spending.others:
        categories = (*categories, CategorySpending(words.say("Everything else"), spending.others, None))
    scale, bars = draw_categories(categories)
    months_scale, months = draw_months(spending.months)
    return "overview.html", {"scale": scale, "bars": bars, "months_scale": months_scale, "months": months}


@_lay_out.register
def _(page: DevicesPage) -> tuple[str, Parts]:
    return "devices.html", {"day": _name_days(page.frame), "Query": Query}


@_lay_out.register
def _(page: HealthPage) -> tuple[str, Parts]:
    return "health.html", {"day": _name_days(page.frame), "moment": _tell_time(page.frame)}


@_lay_out.register
def _(page: NoticePage) -> tuple[str, Parts]:
    return "notice.html", {}


def _name_days(frame: Frame) -> Callable[[date | str], str]:
    """What the page calls a day; the text of a cell that holds none stays as it is."""

    def name(day: date | str) -> str:
        return day if isinstance(day, str) else frame.words.day(day, frame.today)

    return name


def _tell_time(frame: Frame) -> Callable[[datetime], str]:
    zone = frame.settings.time_zone

    def tell(moment: datetime) -> str:
        return frame.words.moment(moment.astimezone(ZoneInfo(zone) if zone else None), frame.today)

    return tell


def _group_by_day(items: Iterable[Item], frame: Frame) -> Iterator[tuple[str, list[Item]]]:
    """The items under the names of their days; a cell that holds no day is its own name."""
    for day, group in groupby(items, key=lambda item: item.date):
        name = day if isinstance(day, str) else begin(frame.words.weekday(day, frame.today))
        yield name, list(group)


def _describe(suggestion: Suggestion, words: Words) -> Mapping[str, str]:
    return {"note": suggestion.note, "category": suggestion.category, "amount": words.typed_amount(suggestion.amount)}
