"""One budget as the app runs it: its settings, its ledger, its workbook, and who writes from the one to the other."""

from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from budget_app.entries import Terms
from budget_app.items import Health
from budget_app.ledger import Ledger
from budget_app.settings import Place, Settings, read_settings, write_starter
from budget_app.view import View
from budget_app.workbooks.kinds import make_workbook
from budget_app.workbooks.workbook import Workbook
from budget_app.writer import Writer


@dataclass(frozen=True, slots=True)
class Budget:
    """Everything that a request needs. All parts may be used by many threads."""

    settings: Settings
    ledger: Ledger
    workbook: Workbook
    view: View
    writer: Writer

    @property
    def today(self) -> date:
        """The day in the time zone of the settings; without one, where this machine is."""
        zone = self.settings.time_zone
        return datetime.now(ZoneInfo(zone)).date() if zone else datetime.now().astimezone().date()

    @property
    def terms(self) -> Terms:
        """What an expense is read by, now."""
        return Terms(self.settings.currency, self.settings.category_names, self.today)

    def examine(self) -> Health:
        """How everything is."""
        progress, view = self.writer.progress, self.view
        return Health(
            self.workbook.place,
            view.count(),
            self.ledger.count_waiting(),
            len(view.missing),
            progress.problem,
            progress.busy,
            progress.written_at,
            view.read_at,
            progress.next_try,
        )

    def close(self) -> None:
        """Stop writing, and finish what the ledger was asked for."""
        self.writer.stop()
        self.ledger.close()


def open_budget(place: Place) -> Budget:
    """Read the settings, or write them for the first time, and start. Raises SettingsError and LedgerError.

    A workbook that cannot be used now is no reason not to start: expenses wait in the ledger, and the pages say why.
    """
    write_starter(place)
    settings = read_settings(place)
    workbook = make_workbook(settings, place)
    ledger = Ledger(place.ledger)
    ledger.open()
    try:
        view = View(ledger, settings)
        view.start()
    except BaseException:
        ledger.close()
        raise
    writer = Writer(ledger, workbook, view)
    writer.start()
    return Budget(settings, ledger, workbook, view, writer)
