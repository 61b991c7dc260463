"""A Google spreadsheet, through gspread: the account, its calls, what a sheet holds, and the workbook of it all."""

from budget_app.workbooks.google.workbook import GoogleWorkbook

__all__ = ["GoogleWorkbook"]
