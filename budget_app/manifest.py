"""The web app manifest (https://www.w3.org/TR/appmanifest/): what a phone shows once the page is on its home screen."""

from budget_app.settings import Settings
from budget_app.words import Words

_ICONS = "/static/icons"
# The colours of the style sheet, --accent behind the mark and --paper behind the page in the light theme.
_THEME = "#1c6b50"
_BACKGROUND = "#f4f3ee"


def make_manifest(settings: Settings, words: Words) -> dict[str, object]:
    """The manifest as JSON has it. Every address in it is on this site.

    The page opens in the browser unless the settings say otherwise: whether a page outside of it shows its certificate
    is up to the phone.
    """
    name = words.say("Budget")
    return {
        "id": "/",
        "name": name,
        "short_name": name,
        "lang": words.lang,
        "dir": words.direction,
        "start_url": "/",
        "scope": "/",
        "display": settings.display,
        "theme_color": _THEME,
        "background_color": _BACKGROUND,
        "categories": ["finance"],
        "icons": [
            {"src": f"{_ICONS}/icon.svg", "sizes": "any", "type": "image/svg+xml", "purpose": "any"},
            _describe_icon("icon-192.png", 192, "any"),
            _describe_icon("icon-512.png", 512, "any"),
            _describe_icon("maskable-512.png", 512, "maskable"),
        ],
        "shortcuts": [
            {"name": words.say("Add an expense"), "url": "/", "icons": [_describe_icon("icon-192.png", 192, "any")]},
            {
                "name": words.say("Where the money goes"),
                "url": "/overview",
                "icons": [_describe_icon("icon-192.png", 192, "any")],
            },
        ],
    }


def _describe_icon(file: str, size: int, purpose: str) -> dict[str, str]:
    return {"src": f"{_ICONS}/{file}", "sizes": f"{size}x{size}", "type": "image/png", "purpose": purpose}
