"""Which kind of device asks, by what its browser says of itself. A guess, so every page offers the others, too."""

import re
from enum import StrEnum


class Platform(StrEnum):
    """What a key is put onto; each has steps of its own."""

    IPHONE = "iPhone"
    IPAD = "iPad"
    ANDROID = "Android"
    MAC = "Mac"
    WINDOWS = "Windows"
    LINUX = "Linux"

    @property
    def takes_profiles(self) -> bool:
        """Whether it installs Apple configuration profiles by hand, with the key in it."""
        return self in {Platform.IPHONE, Platform.IPAD}


# In this order: an iPhone says that it is "like Mac OS X", and Android that it is Linux.
_PLATFORMS = (
    ("iphone", Platform.IPHONE),
    ("ipod", Platform.IPHONE),
    ("ipad", Platform.IPAD),
    ("android", Platform.ANDROID),
    # An iPad with "Request Desktop Website", which is its default, says that it is a Mac.
    ("macintosh", Platform.MAC),
    ("windows", Platform.WINDOWS),
)

# In this order: almost everybody says Safari, and almost everybody but Safari says Chrome.
_BROWSERS = (
    (r"\bcurl/", "curl"),
    (r"\b(?:Edg|EdgA|EdgiOS)/", "Edge"),
    (r"\bOPR/|\bOPiOS/", "Opera"),
    (r"\bSamsungBrowser/", "Samsung Internet"),
    (r"\b(?:Firefox|FxiOS)/", "Firefox"),
    (r"\b(?:Chrome|Chromium|CriOS)/", "Chrome"),
    (r"\bVersion/\S+ (?:\S+ )*Safari/|\bSafari/", "Safari"),
)


def find_platform(agent: str) -> Platform:
    """What the User-Agent `agent` most likely runs on; Linux for what nobody knows."""
    said = agent.lower()
    return next((platform for mark, platform in _PLATFORMS if mark in said), Platform.LINUX)


def find_browser(agent: str) -> str | None:
    """The browser's name; None for a program that nobody knows."""
    return next((name for pattern, name in _BROWSERS if re.search(pattern, agent)), None)


def describe_agent(agent: str) -> str:
    """`iPhone, Safari`: in words of this module alone, so that it can be shown anywhere."""
    browser = find_browser(agent)
    if browser == "curl":
        return "curl"
    known = any(mark in agent.lower() for mark, _ in _PLATFORMS) or "linux" in agent.lower()
    parts = [str(find_platform(agent)) if known else None, browser]
    return ", ".join(part for part in parts if part) or "a program that nobody knows"
