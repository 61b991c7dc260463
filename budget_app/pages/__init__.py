"""What a person sees, all of it HTML and SVG that needs no script."""

from budget_app.pages.page import (
    DevicesPage,
    EditPage,
    EntriesPage,
    FormPage,
    Frame,
    HealthPage,
    Notice,
    NoticeKind,
    NoticePage,
    OverviewPage,
    Page,
    Renewal,
)
from budget_app.pages.rendering import render

__all__ = [
    "DevicesPage",
    "EditPage",
    "EntriesPage",
    "FormPage",
    "Frame",
    "HealthPage",
    "Notice",
    "NoticeKind",
    "NoticePage",
    "OverviewPage",
    "Page",
    "Renewal",
    "render",
]
