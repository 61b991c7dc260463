"""What is said of files that are no workbooks this app can keep whole."""

from budget_app.workbooks.workbook import WorkbookError


def damaged(why: str) -> WorkbookError:
    """The file cannot be relied on; `why` is for whoever has to find out what wrote it."""
    return WorkbookError(
        "the workbook is damaged or no .xlsx file ({why})",
        "open it in a spreadsheet program and save it again as .xlsx, or put a backup in its place",
        why=why,
    )


def unusual(what: str) -> WorkbookError:
    """The file is legal, and written in a way that no spreadsheet program writes."""
    return WorkbookError(
        "the workbook is written in a way this app does not know ({what})",
        "open it in LibreOffice or Excel and save it again as .xlsx",
        what=what,
    )
