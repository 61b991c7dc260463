"""What the frameworks' code was called for: everything behind the gate writes its name down here."""

CALLS: list[str] = []
