"""What stands in the pages: forms that need no script, marks in words, and nothing that anybody typed as markup."""

import json
import re
from dataclasses import replace
from datetime import date
from decimal import Decimal
from gettext import NullTranslations
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest

from budget_app.items import Item, Query
from budget_app.pages import EntriesPage, FormPage, NoticeKind, NoticePage, Page, render
from budget_app.pages.script_words import find_script_sentences, translate_scripts
from budget_app.sentences import Sentence
from budget_app.words import choose_words
from catalogues import find_sentences

from .samples import (
    BUSY,
    HOSTILE,
    LATEST,
    MISTAKES,
    ODD,
    make_bare_spending,
    make_form,
    make_frame,
    make_odd_spending,
    make_pages,
    make_settings,
)

STATIC = Path(__file__).parents[3] / "budget_app" / "static"
VOID = {"meta", "link", "input", "path", "rect", "line"}
EVERY = [(language, name) for language in ("auto", "pt") for name in make_pages()]

each_page = pytest.mark.parametrize(("language", "name"), EVERY)


class Document(HTMLParser):
    """A page as a list of its tags, each with its attributes, and its text; unbalanced tags are a mistake."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.pieces: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), (tag, attrs)
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        # An option need not be closed where another one or its list's end follows (HTML, 13.1.2.4).
        while tag != "option" and self._open[-1] == "option":
            self._open.pop()
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] != ["script"]:
            self.text += data
            self.pieces += data.split()

    def find(self, tag: str, **wanted: str | None) -> list[dict[str, str | None]]:
        return [
            attributes
            for name, attributes in self.tags
            if name == tag and all(attributes.get(key) == value for key, value in wanted.items())
        ]


def read(page: Page) -> Document:
    return Document(render(page))


def read_named(name: str, language: str = "auto") -> Document:
    return read(make_pages(language)[name])


@each_page
def test_a_page_is_a_whole_document(language: str, name: str) -> None:
    """Every tag is closed, every id is there once, and whatever refers to one finds it."""
    document = read_named(name, language)
    ids = [attributes["id"] for _, attributes in document.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in document.tags:
        for key in ("for", "list", "aria-labelledby", "aria-describedby"):
            assert set((attributes.get(key) or "").split()) <= set(ids)
        if (attributes.get("href") or "").startswith("#"):
            assert str(attributes["href"])[1:] in ids


@each_page
def test_a_page_keeps_to_its_policy(language: str, name: str) -> None:
    """There is no inline style and no inline script, and nothing is loaded from anywhere else."""
    document = read_named(name, language)
    assert document.find("style") == []
    for tag, attributes in document.tags:
        assert not any(key == "style" or key.startswith("on") for key in attributes)
        if tag == "script":
            assert attributes.get("type") == "application/json" or "src" in attributes
        for key in ("src", "href", "action"):
            address = attributes.get(key) or "/"
            assert address.startswith(("/", "#", "data:image/svg+xml,"))
            assert not address.startswith("//")


@each_page
def test_headings_are_in_order(language: str, name: str) -> None:
    """One h1 comes first, and no level is left out."""
    levels = [int(tag[1]) for tag, _ in read_named(name, language).tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1 or name.endswith("overview")
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels))


@each_page
def test_a_page_says_its_language(language: str, name: str) -> None:
    """In the attribute that screen readers go by."""
    (html,) = read_named(name, language).find("html")
    assert html == {"lang": "pt-PT" if language == "pt" else "en-GB", "dir": "ltr"}


@each_page
def test_what_people_typed_is_never_markup(language: str, name: str) -> None:
    """A note that looks like a script is shown as what it is."""
    assert HOSTILE not in render(make_pages(language)[name])
    assert "<script>" not in render(make_pages(language)[name])


@pytest.mark.parametrize("name", make_pages())
def test_portuguese_pages_have_no_english_left(name: str) -> None:
    """No sentence of the templates is in a Portuguese page as it is in English."""
    text = " ".join(read_named(name, "pt").text.split())
    said = [key for key, place in find_sentences().items() if isinstance(key, str) and place.startswith("templates")]
    assert [sentence for sentence in said if " " in sentence and sentence in text] == []


def test_a_language_cannot_bring_markup() -> None:
    """What a catalogue says is text, and a value that is markup stays what it is."""

    class Bold(NullTranslations):
        def gettext(self, message: str) -> str:
            return f"<b>{message}</b>"

    words = replace(make_frame().words, translations=Bold())
    html = render(make_form(replace(make_frame(), words=words)))
    assert "&lt;b&gt;Add an expense&lt;/b&gt;" in html
    assert "&lt;b&gt;Added <strong>€4.50</strong> for <strong><bdi>Coffee</bdi></strong>&lt;/b&gt;" in html
    assert "<b>Add" not in html


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("form", "Add an expense · Budget"),
        ("added", "Added · Budget"),
        ("mistakes", "Not saved yet · Budget"),
        ("failure", "Not saved yet · Budget"),
        ("entries", "Entries 2/25 · Budget"),
        ("overview", "November 2026 · Budget"),
        ("health", "Health · Budget"),
        ("notice", "Nothing here · Budget"),
    ],
)
def test_every_page_has_a_title_of_its_own(name: str, title: str) -> None:
    """It is what a screen reader says first, and so it says first what happened."""
    assert f"<title>{title}</title>" in render(make_pages()[name])


@pytest.mark.parametrize(
    ("name", "path"), [("form", "/"), ("entries", "/entries"), ("edit", "/entries"), ("overview", "/overview")]
)
def test_the_navigation_marks_where_one_is(name: str, path: str) -> None:
    """One of the five pages is the current one."""
    current = [each["href"] for each in read_named(name).find("a") if each.get("aria-current") == "page"]
    assert current == [path]


def test_the_form_has_what_the_scripts_and_the_server_rely_on() -> None:
    """The names of the fields, the buttons, and the places where the scripts put what they have to say."""
    document = read_named("form")
    assert document.find("form", id="entry", method="post", action="/")
    names = {attributes.get("name") for tag, attributes in document.tags if tag == "input"}
    assert {"id", "amount", "refund", "category", "note", "day", "date", "version"} == names
    assert [each["value"] for each in document.find("input", name="day")] == ["today", "yesterday", "other"]
    assert document.find("input", id="amount", type="text", inputmode="decimal", enterkeyhint="done")
    assert "autofocus" in document.find("input", id="amount")[0]
    assert len(document.find("input", type="radio", name="category")) == 12
    assert document.find("button", id="add-another", name="then", value="another")
    fields = [attributes["data-field"] for _, attributes in document.tags if "data-field" in attributes]
    assert fields == ["amount", "category", "note", "date"]
    ids = {attributes.get("id") for _, attributes in document.tags}
    assert {f"{name}-message" for name in fields} | {*fields, "id", "refund", "categories", "days", "add"} <= ids
    assert {"notice", "alert", "status", "latest", "waiting", "waiting-row", "suggestions", "words", "main"} <= ids
    (body,) = document.find("body")
    assert {key: body[key] for key in body} == {
        "data-page": "form",
        "data-display": "browser",
        "data-currency": "EUR",
        "data-lang": "en-GB",
    }


def test_data_for_the_scripts_is_json() -> None:
    """The suggestions as numbers are typed, and the sentences that scripts say, if they differ from the English."""
    note = "</script><script>alert(1)</script>"
    page = make_form(make_frame("pt"))
    html = render(replace(page, suggestions=(replace(page.suggestions[0], note=note),)))
    found = dict(re.findall(r'<script type="application/json" id="(\w+)">(.*?)</script>', html))
    assert json.loads(found["suggestions"]) == [{"note": note, "category": "Coffee", "amount": "1,37"}]
    assert json.loads(found["words"]) == translate_scripts(page.frame.words)
    assert translate_scripts(make_frame("en").words) == {}
    assert len(find_script_sentences()) == len(json.loads(found["words"])) > 0


def test_the_shell_holds_nothing_of_anybody() -> None:
    """What a phone keeps has no entries, no sums and no date of the day it was made."""
    document = read_named("shell")
    assert document.find("input", id="date", value="")
    assert "€4.50" not in document.text
    assert "2026" not in document.text
    assert document.find("section", id="latest")


def test_mistakes_stand_beside_their_fields_and_on_top() -> None:
    """Each has its sentence twice, the upper one a link to the field; what was typed is there again."""
    document = read_named("mistakes")
    for name in ("amount", "category", "note", "date"):
        (field,) = [each for tag, each in document.tags if tag == "input" and each.get("id") == name]
        assert (field["aria-invalid"], field["aria-describedby"]) == ("true", f"{name}-message")
        assert "hidden" not in document.find("p", id=f"{name}-message")[0]
        assert document.find("a", href=f"#{name}")
        assert document.text.count(str(MISTAKES[name])[:15]) >= 2
    assert str(MISTAKES["id"]) in document.text
    assert document.find("input", id="amount", value="four")
    assert document.find("input", id="note", value=HOSTILE)
    assert document.find("input", id="date", value="1826-01-01")
    assert "checked" in document.find("input", id="refund")[0]
    assert "shorten this to 500 characters; it has 10,000." in document.text.lower()


def test_a_form_without_mistakes_has_no_messages() -> None:
    """The places for messages are empty and hidden."""
    document = read_named("form")
    assert len(document.find("p", **{"class": "message"})) == 5
    assert all("hidden" in each for each in document.find("p", **{"class": "message"}))
    assert not any("aria-invalid" in attributes for _, attributes in document.tags)


def test_a_ledger_that_failed_is_said_and_keeps_what_was_typed() -> None:
    """The expense is not saved, and is still in the form."""
    document = read_named("failure")
    assert "This expense is not saved" in document.text
    assert "The disk is full." in document.text
    assert document.find("input", id="amount", value="4")


@pytest.mark.parametrize(
    ("kind", "said", "offered"),
    [
        ("added", "Added €4.50 for Coffee", ["undo", "Edit", "Duplicate"]),
        ("changed", "Now €4.50 for Coffee", ["undo", "Edit", "Duplicate"]),
        ("removed", "Removed €4.50 for Coffee", ["undo"]),
        ("restored", "Put back €4.50 for Coffee", ["Edit", "Duplicate"]),
        ("kept", "€4.50 for Coffee arrived twice, and is here once", ["Edit", "Duplicate"]),
    ],
)
def test_what_was_done_can_be_taken_back(kind: NoticeKind, said: str, offered: list[str]) -> None:
    """The banner says what happened, and offers what can follow; taking back is a POST with the version."""
    html = render(make_form(make_frame(), kind))
    banner = html[html.index('<div id="notice"') : html.index('<form class="card"')]
    document = Document(banner.strip())
    assert said in " ".join(document.text.split())
    undo = document.find("form", method="post", action=f"/entries/{LATEST[0].entry_id}/undo")
    assert bool(undo) == ("undo" in offered)
    assert bool(document.find("input", type="hidden", name="version", value="1")) == bool(undo)
    assert ("Edit" in document.text, "Duplicate" in document.text) == ("Edit" in offered, "Duplicate" in offered)
    assert ("Put back" in document.text) == (kind in ("removed", "restored"))


def test_every_kind_of_notice_has_its_sentence() -> None:
    """None is told as another."""
    assert set(get_args(NoticeKind)) == {"added", "changed", "removed", "restored", "kept"}


def test_a_refund_is_added_as_one() -> None:
    """The banner says the word, not a minus alone."""
    page = make_form(make_frame())
    notice = replace(page.notice, item=LATEST[2]) if page.notice else None
    document = read(replace(page, notice=notice))
    assert "Added a refund of €24.90 for Clothes" in " ".join(document.text.split())


def test_entries_of_the_app_can_be_changed_and_others_cannot() -> None:
    """A row typed by hand is shown without what only the ledger can do."""
    entry_id = LATEST[0].entry_id
    written = read(replace(make_form(make_frame(), None), latest=LATEST[:1]))
    assert written.find("a", href=f"/entries/{entry_id}")
    assert written.find("a", href=f"/?copy={entry_id}")
    assert written.find("form", method="post", action=f"/entries/{entry_id}/remove")
    typed = read(replace(make_form(make_frame(), None), latest=LATEST[5:6]))
    assert "Rent" in typed.text
    assert not [each for each in typed.find("form") if each["action"] not in ("/", None)]


def test_refunds_and_what_waits_are_marked_in_words() -> None:
    """Not by a colour or a sign alone."""
    for item, mark in ((LATEST[2], "Refund"), (LATEST[0], "not in the workbook yet")):
        marked = read(replace(make_form(make_frame(), None), latest=(item,)))
        plain = read(replace(make_form(make_frame(), None), latest=(LATEST[3],)))
        assert marked.text.count(mark) == plain.text.count(mark) + 1


@pytest.mark.parametrize(
    ("waiting", "said"),
    [
        (0, "The workbook is open in LibreOffice."),
        (1, "1 expense is not in the workbook yet: the workbook is open in LibreOffice."),
        (2, "2 expenses are not in the workbook yet: the workbook is open in LibreOffice."),
    ],
)
def test_what_waits_is_said_with_its_reason(waiting: int, said: str) -> None:
    """The line leads to the page that says more."""
    document = read(make_form(make_frame(waiting=waiting, problem=BUSY), None))
    assert said in document.text
    assert len(document.find("a", href="/health")) == 2


def test_what_is_on_its_way_is_no_problem() -> None:
    """An entry that was just added is written in a moment."""
    assert "1 expense is on its way to the workbook" in read(make_form(make_frame(waiting=1), None)).text


def test_the_first_page_says_what_is_left() -> None:
    """What the month has cost, and what is left for each day, or by how much it is over."""
    text = " ".join(read_named("form").text.split())
    assert "Spent this month €1,737.60 Left per day €49.25" in text
    over = replace(make_form(make_frame(), None), spending=make_odd_spending())
    assert "Over budget by 9E299 €" in " ".join(read(over).text.split())
    assert "Left per day" not in read(replace(over, spending=make_bare_spending())).text


def test_edit_sends_the_version_that_was_seen() -> None:
    """So that a change made by another device in the meantime is noticed."""
    document = read_named("edit")
    assert document.find("form", id="entry", method="post", action=f"/entries/{LATEST[2].entry_id}")
    assert len(document.find("input", name="version", value="1")) == 2
    assert document.find("input", name="amount", value="24.90")


def test_a_category_that_is_not_in_the_settings_is_named() -> None:
    """Somebody changed it in the workbook, and the form cannot choose it."""
    page = make_pages()["edit"]
    item = replace(LATEST[2], category="Boats")
    assert "The workbook has Boats, which is not in the settings." in read(replace(page, item=item)).text  # type: ignore[arg-type]


def test_entries_are_grouped_by_their_days() -> None:
    """Each day has a heading, and so has what has no day."""
    html = render(make_pages()["entries"])
    headings = re.findall(r"<h2><bdi>(.*?)</bdi></h2>", html)
    assert headings == ["Today", "Yesterday", "Fri 20 Nov", "Sat 21 Nov", "mid November"]
    text = " ".join(Document(html).text.split())
    assert "1,234 entries Total €45,678.90" in text
    assert "Page 2 of 25" in text


def test_pages_of_entries_keep_what_is_looked_for() -> None:
    """The next page is one of the same search, and a removal leads back to it."""
    page = make_pages()["entries"]
    assert isinstance(page, EntriesPage)
    document = read(replace(page, query=Query("ana", date(2026, 11, 1), "", "Coffee")))
    search = "/entries?q=ana&month=2026-11&category=Coffee"
    assert document.find("a", rel="prev", href=search)
    assert document.find("a", rel="next", href=f"{search}&page=3")
    assert document.find("input", name="back", value=f"{search}&page=2")
    assert document.find("input", id="q", value="ana")
    assert "selected" in document.find("option", value="2026-11")[0]


def test_a_search_for_what_is_nowhere_keeps_its_choice() -> None:
    """A month, a device or a category without entries is still what is chosen."""
    document = read_named("odd-entries")
    assert len([each for each in document.find("option") if "selected" in each]) == 3
    assert "Nothing fits." in read_named("nothing").text


def test_the_overview_has_every_figure_in_a_table() -> None:
    """The pictures say nothing that the tables do not say."""
    document = read_named("overview")
    text = " ".join(document.pieces)
    assert "Groceries €168.82 left €231.18 €400.00" in text
    assert "Coffee €6.70 over €31.70 €25.00" in text
    assert "Leisure €96.00 none" in text
    assert "Everything else €13.37" in text
    assert "Total €1,737.60 €2,015.00" in text
    assert "November 2026 €1,737.60 October 2026 €1,602.00" in text
    assert "Left per day €49.25 for 8 days, with today" in text
    assert len(document.find("svg", role="img")) == 2
    assert len(document.find("table")) == 2
    assert [each["href"] for each in document.find("a", rel="prev")] == ["/overview?month=2026-10"]


def test_the_pictures_are_drawn_to_scale() -> None:
    """The widths in the picture are to one another as the amounts are."""
    html = render(make_pages()["overview"])
    bars = re.findall(r'<rect class="(spent|refunded)" x="([\d.]+)%" y="[\d.]+em" width="([\d.]+)%"', html)
    widths = [float(width) for _, _, width in bars]
    assert len(widths) == 13
    # Groceries 231.18, Home 850; zero lies where the 24.90 that came back end.
    assert widths[0] / widths[4] == pytest.approx(231.18 / 850, rel=1e-3)
    assert bars[7][0] == "refunded"
    assert float(bars[7][2]) == pytest.approx(float(bars[0][1]), abs=0.002)
    assert len(re.findall(r'class="beyond" fill="url\(#hatch\)"', html)) == 3
    heights = [float(height) for height in re.findall(r'y="[\d.]+%" height="([\d.]+)%"', html)]
    assert len(heights) == 12
    assert max(heights) == heights[7] == 100
    assert heights[0] == pytest.approx(1422 / 2411 * 100, rel=1e-3)


def test_another_month_has_no_days_left() -> None:
    """What is left per day, and this week, are of today's month alone."""
    text = read_named("past").text
    assert "March 2025" in text
    assert "Left per day" not in text
    assert "This week" not in text
    assert "Budget of the month" in text


def test_health_says_what_waits_since_when_and_why() -> None:
    """The reason, its cure, the next try, and each entry that waits."""
    text = " ".join(read_named("waiting").pieces)
    assert "The workbook is open in LibreOffice. Close it there, and it is written. Nothing is lost" in text
    assert "Next try Today, 14:05" in text
    assert "Last written Today, 13:56" in text
    assert "Not there any more 3" in text
    assert "2 expenses wait for the workbook:" in text
    assert "Groceries €63.18 Weekly shop since Today, 14:01" in text
    assert "To be taken out of the workbook since Yesterday, 14:05" in text
    assert "All is well" in read_named("health").text


def test_devices_lead_to_their_entries() -> None:
    """Except what was typed by hand, which no device did."""
    document = read_named("devices")
    assert document.find("a", href="/entries?device=Rhea%27s+iPhone")
    assert not document.find("a", href="/entries?device=")
    assert "1,312 entries · latest: Today" in document.text


def test_odd_rows_are_shown_as_they_are() -> None:
    """What is no amount or no day is shown as its text."""
    text = read(replace(make_form(make_frame(), None), latest=(*ODD, LATEST[9]))).text
    for each in ("about ten", "mid November", "No category", "someday", "1E300 €", "1 Jan 1826"):
        assert each in text
    empty = Item("", 0, "", "", "", "", "")
    assert "No date" in read(replace(make_form(make_frame(), None), latest=(empty,))).text


@pytest.mark.parametrize(("currency", "sign"), [("JPY", "JP¥"), ("BHD", "BHD"), ("USD", "US$")])
def test_any_currency_can_be_the_budgets(currency: str, sign: str) -> None:
    """Its sign stands in the form and in the sums."""
    page = make_form(make_frame(currency=currency))
    assert read(page).text.count(sign) > 10


def test_a_notice_needs_neither_ledger_nor_workbook() -> None:
    """The page of a refusal is made of words alone."""
    words = choose_words(make_settings("pt"), None)
    text = read(NoticePage(words, Sentence("Not saved"), Sentence("Choose a category."))).text
    assert "Não foi guardado" in text
    assert "Escolha uma categoria." in text


def test_the_form_page_is_light() -> None:
    """With ten entries, twelve categories and sixty suggestions, page and style leave a third of 60 kB to scripts."""
    for language in ("auto", "pt"):
        page = make_form(make_frame(language, waiting=2, problem=BUSY))
        assert isinstance(page, FormPage)
        assert (len(page.latest), len(page.categories), len(page.suggestions)) == (10, 12, 60)
        html, style = len(render(page).encode()), (STATIC / "budget.css").stat().st_size
        assert html < 22_000
        assert style < 18_000
        assert html + style < 40_000


def test_an_empty_amount_is_a_dash() -> None:
    """A row without an amount shows that it has none."""
    item = Item("", 0, date(2026, 11, 1), "", "Home", "", "")
    assert "\u2013" in read(replace(make_form(make_frame(), None), latest=(item,))).text
    assert "€0.00" in read(replace(make_form(make_frame(), None), latest=(replace(item, amount=Decimal(0)),))).text
