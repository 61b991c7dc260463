"""The budget as an `.xlsx` file: rows are spliced into its parts, and everything else in it stays byte for byte."""

from budget_app.workbooks.xlsx.workbook import XlsxWorkbook

__all__ = ["XlsxWorkbook"]
