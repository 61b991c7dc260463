"""What each page is made from. The app fills these in; nothing here reads or writes anything."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Literal

from budget_app.items import Device, Found, Health, Item, Query, Spending, Suggestion, Waiting
from budget_app.sentences import Sentence
from budget_app.settings import Settings
from budget_app.words import Words

NoticeKind = Literal["added", "changed", "removed", "restored", "kept"]


@dataclass(frozen=True, slots=True)
class Renewal:
    """Where the device gets its next key, and the day on which the present one ends."""

    link: str
    ends: date


@dataclass(frozen=True, slots=True)
class Notice:
    """What just happened to `item`, and the version of it that an undo takes back.

    `kept` is the same entry sent twice, which is there once.
    """

    kind: NoticeKind
    item: Item
    version: int


@dataclass(frozen=True, slots=True)
class Frame:
    """What every page has: who looks at it, when, in which words, and how the ledger and the workbook are.

    `device` is the name beside this visitor's entries, and `person` who has logged in; the same where no key was shown.
    """

    device: str
    person: str | None
    today: date
    renewal: Renewal | None
    health: Health
    settings: Settings
    words: Words


@dataclass(frozen=True, slots=True)
class FormPage:
    """The form, and below it the latest entries.

    `typed` holds the text of each field by name and `messages` a sentence for each field that is wrong; `failure` says
    why the expense could not be accepted at all. `categories` and `suggestions` begin with those in recent use. A
    `shell` has neither entries nor sums: it is what a phone keeps for when there is no reception.
    """

    frame: Frame
    entry_id: str
    typed: Mapping[str, str] = field(default_factory=dict)
    messages: Mapping[str, Sentence] = field(default_factory=dict)
    categories: tuple[str, ...] = ()
    suggestions: tuple[Suggestion, ...] = ()
    latest: tuple[Item, ...] = ()
    spending: Spending | None = None
    notice: Notice | None = None
    shell: bool = False
    failure: Sentence | None = None


@dataclass(frozen=True, slots=True)
class EditPage:
    """One entry to be changed. While `typed` is empty, the form shows the entry as it is."""

    frame: Frame
    item: Item
    typed: Mapping[str, str] = field(default_factory=dict)
    messages: Mapping[str, Sentence] = field(default_factory=dict)
    failure: Sentence | None = None


@dataclass(frozen=True, slots=True)
class EntriesPage:
    """One page of what a search found; `months`, newest first, `devices` and `categories` are what it can choose."""

    frame: Frame
    query: Query
    found: Found
    page: int
    pages: int
    months: tuple[date, ...]
    devices: tuple[str, ...]
    categories: tuple[str, ...]
    notice: Notice | None = None


@dataclass(frozen=True, slots=True)
class OverviewPage:
    """One month's spending; `earlier` and `later` are the months to go to, if there are any."""

    frame: Frame
    spending: Spending
    earlier: date | None
    later: date | None


@dataclass(frozen=True, slots=True)
class DevicesPage:
    """Who entered what."""

    frame: Frame
    devices: tuple[Device, ...]


@dataclass(frozen=True, slots=True)
class HealthPage:
    """How the ledger and the workbook are, and what the workbook does not have yet."""

    frame: Frame
    waiting: tuple[Waiting, ...]


@dataclass(frozen=True, slots=True)
class NoticePage:
    """A page that says one thing and leads back. It needs no ledger and no workbook."""

    words: Words
    title: Sentence
    sentence: Sentence


Page = FormPage | EditPage | EntriesPage | OverviewPage | DevicesPage | HealthPage | NoticePage
