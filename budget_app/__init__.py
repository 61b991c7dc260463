"""One expense, entered on a phone in five seconds, becomes a row in the budget workbook."""
