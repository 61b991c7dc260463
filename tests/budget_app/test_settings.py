"""`budget.toml`: what is left out, what is wrong, and the file that is written for the first time."""

import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from budget_app.settings import (
    STARTER,
    STARTING_CATEGORIES,
    CsvSettings,
    GoogleSettings,
    Place,
    Settings,
    SettingsError,
    XlsxSettings,
    find_place,
    read_settings,
    write_starter,
)
from budget_app.workbooks.workbook import FIELDS, HEADINGS
from servers import environment


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "budget.toml")


def read(place: Place, text: str) -> Settings:
    place.path.write_text(text, encoding="utf-8")
    return read_settings(place)


def problems(place: Place, text: str) -> list[str]:
    """What is wrong, one line each, without the line that names the file."""
    with pytest.raises(SettingsError) as caught:
        read(place, text)
    first, *others = str(caught.value).splitlines()
    assert first == f"{place.path} cannot be used:"
    assert [line.removeprefix("  ") for line in others] == list(caught.value.problems)
    return list(caught.value.problems)


def test_without_a_file_everything_has_its_default(place: Place) -> None:
    """The app starts for somebody who has set nothing."""
    settings = read_settings(place)
    assert (settings.currency, settings.language, settings.week_start, settings.display) == (
        "EUR",
        "auto",
        "monday",
        "browser",
    )
    assert settings.category_names == STARTING_CATEGORIES
    assert settings.workbook == XlsxSettings()
    assert settings == Settings()


def test_an_empty_file_says_nothing_else(place: Place) -> None:
    """What is left out has its default."""
    assert read(place, "") == Settings()


def test_everything_can_be_set(place: Place) -> None:
    """One file with a value for each setting."""
    settings = read(
        place,
        """
        currency = "CHF"
        language = "pt-BR"
        time_zone = "Europe/Zurich"
        week_start = "sunday"
        display = "standalone"
        [workbook]
        path = "money/own.xlsx"
        sheet = "Ausgaben"
        table = ""
        columns = { date = "Tag", amount = "Betrag", category = "Art", note = "Notiz", device = "Wer", entry_id = "Nr" }
        [[categories]]
        name = " Café "
        budget = 40
        [[categories]]
        name = "Home"
        budget = 120.50
        [[categories]]
        name = "Other"
        """,
    )
    assert (settings.currency, settings.language, settings.time_zone) == ("CHF", "pt-BR", "Europe/Zurich")
    assert [(each.name, each.budget) for each in settings.categories] == [
        ("Café", 40),
        ("Home", 120.5),
        ("Other", None),
    ]
    assert isinstance(settings.workbook, XlsxSettings)
    assert (settings.workbook.path, settings.workbook.table) == ("money/own.xlsx", "")
    assert settings.workbook.columns.headings == ("Tag", "Betrag", "Art", "Notiz", "Wer", "Nr")


def test_columns_that_are_not_named_have_our_headings(place: Place) -> None:
    """In the order of the fields, whichever of them the file names."""
    settings = read(place, '[workbook.columns]\namount = "Price"\n')
    assert settings.workbook.columns.headings == ("Date", "Price", *HEADINGS[2:])
    assert tuple(type(settings.workbook.columns).model_fields) == FIELDS
    assert XlsxSettings().columns.headings == HEADINGS


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('[workbook]\npath = "a.xlsx"', XlsxSettings),
        ('[workbook]\nkind = "xlsx"', XlsxSettings),
        ('[workbook]\nkind = "csv"\ndelimiter = ";"\ndecimal = ","', CsvSettings),
        ('[workbook]\nkind = "google"\nspreadsheet = "1a2b"', GoogleSettings),
    ],
)
def test_each_kind_of_workbook_has_its_own_settings(place: Place, text: str, kind: type[object]) -> None:
    """`.xlsx` is the kind that needs no word."""
    assert type(read(place, text).workbook) is kind


def test_every_mistake_is_named_at_once_with_its_place(place: Place) -> None:
    """Nobody mends one mistake to be told of the next."""
    told = problems(
        place,
        """
        curency = "EUR"
        currency = "Euro"
        language = "Klingon of the North"
        week_start = "Monday"
        display = 7
        [workbook]
        kind = "csv"
        path = 5
        delimeter = ";"
        delimiter = "|"
        [workbook.columns]
        date = "Amount"
        [[categories]]
        name = "Home"
        budget = -1
        [[categories]]
        nam = "Garden"
        [[categories]]
        name = "Food*"
        """,
    )
    places = [line.partition(":")[0] for line in told]
    assert sorted(places) == sorted(
        [
            "currency",
            "language",
            "week_start",
            "display",
            "workbook.path",
            "workbook.delimiter",
            "workbook.delimeter",
            "workbook.columns",
            "categories.1.budget",
            "categories.2.name",
            "categories.2.nam",
            "categories.3.name",
            "curency",
        ]
    )
    assert all(re.fullmatch(r"[^:]+: \S.*", line) for line in told)


def test_two_pairs_of_categories_with_one_name_are_both_named(place: Place) -> None:
    """Upper and lower case are one, as they are to SUMIFS."""
    names = ["Home", "home", "Pets", "PETS", "Other"]
    told = "\n".join(problems(place, "".join(f'[[categories]]\nname = "{name}"\n' for name in names)))
    assert "home" in told
    assert "pets" in told


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('curency = "EUR"', "curency: is no setting; did you mean currency?"),
        ('[workbook]\nsheeet = "A"', "workbook.sheeet: is no setting; did you mean sheet?"),
        ('[workbook.columns]\namuont = "A"', "workbook.columns.amuont: is no setting; did you mean amount?"),
        ('[[categories]]\nname = "Home"\nbugdet = 5', "categories.1.bugdet: is no setting; did you mean budget?"),
        ("[workbok]", "workbok: is no setting; did you mean workbook?"),
        ("zzzzzz = 1", "zzzzzz: is no setting; see the README for all of them"),
        ('[workbook]\nkind = "csv"\ntable = "A"', "workbook.table: is no setting; "),
    ],
)
def test_an_unknown_key_is_told_with_the_one_that_was_meant(place: Place, text: str, line: str) -> None:
    """A slip of the keyboard is not a setting without effect."""
    (told,) = problems(place, text)
    assert told.startswith(line)


def test_a_key_is_not_said_to_be_meant_where_it_does_not_belong(place: Place) -> None:
    """Under [workbook] there is no currency, and `table` belongs to another kind: neither hint would help."""
    (told,) = problems(place, '[workbook]\ncurrencyy = "EUR"')
    assert "currency?" not in told
    (told,) = problems(place, '[workbook]\nkind = "csv"\ntable = "A"')
    assert "mean table?" not in told


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('currency = "eur"', "currency: is no currency; write its three letters, such as EUR"),
        ('currency = ""', "currency: is no currency; write its three letters, such as EUR"),
        ('currency = "€"', "currency: is no currency; write its three letters, such as EUR"),
        ('language = ""', "language: is no language"),
        ('language = "pt_BR"', "language: is no language"),
        ('language = "xx"', "language: is no language"),
        ('time_zone = "Europe/Atlantis"', 'time_zone: is no time zone; write one such as "Europe/Lisbon"'),
        ('time_zone = "Europe"', 'time_zone: is no time zone; write one such as "Europe/Lisbon"'),
        ('time_zone = "../../etc/passwd"', 'time_zone: is no time zone; write one such as "Europe/Lisbon"'),
        ('time_zone = "/etc/localtime"', 'time_zone: is no time zone; write one such as "Europe/Lisbon"'),
        ('time_zone = ""', 'time_zone: is no time zone; write one such as "Europe/Lisbon"'),
        ('time_zone = "Europe/Lis\\u0000bon"', 'time_zone: is no time zone; write one such as "Europe/Lisbon"'),
        ('week_start = "tuesday"', "week_start: "),
        ("categories = []", "categories: "),
        ('categories = ["Home"]', "categories.1: "),
        ('categories = "Home"', "categories: "),
        ("[[categories]]", "categories.1.name: "),
        ("[[categories]]\nname = 5", "categories.1.name: "),
        ('[[categories]]\nname = ""', "categories.1.name: Choose a category"),
        ('[[categories]]\nname = "a\\nb"', "categories.1.name: Remove the line breaks"),
        ('[[categories]]\nname = "' + "n" * 51 + '"', "categories.1.name: Shorten this to 50 characters; it has 51"),
        ('[[categories]]\nname = "Home"\nbudget = "5"', "categories.1.budget: "),
        ('[[categories]]\nname = "Home"\nbudget = true', "categories.1.budget: "),
        ('[[categories]]\nname = "Home"\nbudget = nan', "categories.1.budget: "),
        ('[[categories]]\nname = "Home"\nbudget = inf', "categories.1.budget: "),
        ('[[categories]]\nname = "Home"\nbudget = 1e12', "categories.1.budget: "),
        ('[workbook]\nkind = "ods"', "workbook: "),
        ("[workbook]\nkind = 5", "workbook: "),
        ('[workbook]\nkind = "google"', "workbook.spreadsheet: "),
        ('[workbook]\nsheet = ""', "workbook.sheet: "),
        ('[workbook]\nsheet = "' + "s" * 32 + '"', "workbook.sheet: "),
        ("workbook = 5", "workbook: "),
        ('[workbook.columns]\ndate = ""', "workbook.columns: needs six headings that differ"),
        ('[workbook.columns]\ndate = "AMOUNT"', "workbook.columns: needs six headings that differ"),
        ('currency = "EUR', "it is no TOML: "),
        ('currency = "EUR"\ncurrency = "USD"', "it is no TOML: "),
        pytest.param("currency = " + "[" * 5000, "it is no TOML: ", id="nested"),
    ],
)
def test_a_wrong_value_is_told_with_its_place(place: Place, text: str, line: str) -> None:
    """One mistake is one line, without a traceback."""
    (told,) = problems(place, text)
    assert told.startswith(line)


@pytest.mark.parametrize("name", ["Food*", "W?at", "a~b", "=Food", "<5", ">5", "<>", " =Food", "\u00a0>5", "*"])
def test_a_category_that_sumifs_reads_as_a_condition_is_refused(place: Place, name: str) -> None:
    """It would be added up wrongly; also where only spaces, which are taken off, stand before it."""
    (told,) = problems(place, f'[[categories]]\nname = "{name}"\n')
    assert told == ("categories.1.name: a spreadsheet reads *, ? and ~, and =, < and > in front, as conditions")


@pytest.mark.parametrize("name", ["Food = fun", "a>b", "a<b", "R&D", "'Food'", "{name}", "50%", "-", "+", "@home"])
def test_a_category_with_other_signs_is_one(place: Place, name: str) -> None:
    """Only what a criterion gives a meaning to is refused."""
    assert read(place, f'[[categories]]\nname = "{name}"\n').category_names == (name,)


def test_two_hundred_categories_are_enough(place: Place) -> None:
    """More would be no list to choose from."""
    text = "".join(f'[[categories]]\nname = "c{number}"\n' for number in range(201))
    assert len(read(place, text.rpartition("[[")[0]).categories) == 200
    (told,) = problems(place, text)
    assert told.startswith("categories: ")


@pytest.mark.parametrize("content", [b"\xff\xfe", b"currency = '\xe9'"])
def test_a_file_that_is_no_text_is_told(place: Place, content: bytes) -> None:
    """TOML is UTF-8."""
    place.path.write_bytes(content)
    with pytest.raises(SettingsError, match="cannot be read"):
        read_settings(place)


def test_a_folder_in_its_place_is_told(place: Place) -> None:
    """Settings that are there and cannot be read are not the defaults."""
    place.path.mkdir()
    with pytest.raises(SettingsError, match="cannot be read"):
        read_settings(place)


def test_the_starter_file_says_what_holds_without_it(place: Place) -> None:
    """Writing it changes nothing."""
    write_starter(place)
    assert read_settings(place) == Settings()


def test_what_the_starter_file_shows_is_the_default(place: Place) -> None:
    """With every comment made a setting, but the zone and the budgets, it still says the same."""
    shown = re.sub(r"(?m)^# (?=\[workbook\]|\w+ = )", "", STARTER)
    shown = re.sub(r"(?m)^time_zone.*\n", "", shown)
    assert shown.count(" = ") > 8
    settings = read(place, shown)
    assert settings == Settings()
    assert settings.model_fields_set >= {"currency", "language", "week_start", "display", "workbook"}
    assert {"kind", "path", "sheet", "table", "columns"} <= settings.workbook.model_fields_set
    assert settings.workbook.columns.model_fields_set == set(FIELDS)


def test_the_starter_file_s_budgets_can_be_switched_on(place: Place) -> None:
    """Each is one mark away."""
    write_starter(place)
    text = (
        place.path.read_text(encoding="utf-8").replace("# budget = ", "budget = ").replace("# time_zone", "time_zone")
    )
    settings = read(place, text)
    assert {each.budget for each in settings.categories} == {100}
    assert settings.time_zone == "Europe/Lisbon"


@pytest.mark.parametrize("content", [b"", b"currency = 'USD'\n", b"no toml"])
def test_a_file_that_is_there_is_never_overwritten(place: Place, content: bytes) -> None:
    """Not even an empty or a broken one."""
    place.path.write_bytes(content)
    write_starter(place)
    assert place.path.read_bytes() == content


def test_a_link_that_leads_nowhere_is_left_alone(place: Place, tmp_path: Path) -> None:
    """Somebody meant it to lead somewhere."""
    place.path.symlink_to(tmp_path / "elsewhere.toml")
    write_starter(place)
    assert place.path.is_symlink()
    assert not (tmp_path / "elsewhere.toml").exists()


def test_the_starter_s_folder_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    """A budget is nobody else's business."""
    place = Place(tmp_path / "new" / "budget.toml")
    write_starter(place)
    assert stat.S_IMODE(place.folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("room", [0, 300, 900])
def test_a_disk_without_room_leaves_no_half_of_a_starter_file(tmp_path: Path, room: int) -> None:
    """Half of it would have fewer categories, or none, and the next start would believe it."""
    script = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from budget_app.settings import Place, SettingsError, write_starter\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room}))\n"
        "try:\n"
        "    write_starter(Place(Path(sys.argv[1])))\n"
        "except (OSError, SettingsError):\n"
        "    sys.exit(7)\n"
    )
    path = tmp_path / "budget.toml"
    ended = subprocess.run([sys.executable, "-c", script, path], env=environment(), check=False)
    assert ended.returncode == 7
    assert list(tmp_path.iterdir()) == []


def test_paths_start_at_the_folder_of_the_file(tmp_path: Path) -> None:
    """Wherever the app was started."""
    place = Place(tmp_path / "budget.toml")
    assert place.resolve("money/own.xlsx") == tmp_path / "money" / "own.xlsx"
    assert place.resolve("/srv/own.xlsx") == Path("/srv/own.xlsx")
    assert place.resolve("~/own.xlsx") == Path.home() / "own.xlsx"
    assert (place.folder, place.ledger) == (tmp_path, tmp_path / "ledger.db")


def test_the_file_is_found_by_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A variable of its own, else the folder of keyfob, else the one that keyfob makes here."""
    monkeypatch.chdir(tmp_path)
    both = {"BUDGET_SETTINGS": "/etc/own.toml", "KEYFOB_HOME": "/srv/keys"}
    assert find_place(both).path == Path("/etc/own.toml")
    assert find_place({"KEYFOB_HOME": "/srv/keys"}).path == Path("/srv/keys/budget.toml")
    assert find_place({"KEYFOB_HOME": "/srv/keys", "BUDGET_SETTINGS": ""}).path == Path("/srv/keys/budget.toml")
    assert find_place({}).path == tmp_path / ".keyfob" / "budget.toml"
    assert find_place({"BUDGET_SETTINGS": "own.toml"}).path == tmp_path / "own.toml"
    assert find_place({"BUDGET_SETTINGS": "~/own.toml"}).path == Path.home() / "own.toml"
