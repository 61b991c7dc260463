"""The workbook in the hands of the program that a person would open it with."""

import subprocess
from datetime import date
from decimal import Decimal
from pathlib import Path

from budget_app.entries import Entry
from budget_app.workbook import ExpenseWorkbook
from servers import find_program


def test_libreoffice_reads_numbers_dates_and_text(tmp_path: Path) -> None:
    """Real numbers, real dates, and nothing that a person typed becomes a formula."""
    soffice = find_program("soffice", "libreoffice-calc-nogui")
    workbook = ExpenseWorkbook(tmp_path / "budget.xlsx")
    for category, note in (("Coffee", "with Ana"), ("=1+1", "+351 210"), ("@home", "-5")):
        workbook.append(Entry(Decimal("1234.50"), category, date(2026, 11, 23), note), "Rhea Group")
    profile = f"-env:UserInstallation={(tmp_path / 'profile').as_uri()}"
    # Field separator, quote and UTF-8, from line 1, all columns; numbers as they are.
    how = "csv:Text - txt - csv (StarCalc):44,34,76,1,,0,false,true,false"
    command = [soffice, "--headless", profile, "--convert-to", how, "--outdir", str(tmp_path), "budget.xlsx"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=120)
    assert (tmp_path / "budget.csv").read_text(encoding="utf-8").splitlines() == [
        "Date,Amount,Category,Note,Device",
        "2026-11-23,1234.5,Coffee,with Ana,Rhea Group",
        "2026-11-23,1234.5,=1+1,+351 210,Rhea Group",
        "2026-11-23,1234.5,@home,-5,Rhea Group",
    ]
