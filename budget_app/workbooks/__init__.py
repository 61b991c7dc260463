"""Workbooks that the expenses end up in: one small interface, and a module for each kind."""
