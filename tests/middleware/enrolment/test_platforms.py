"""enrolment.platforms: what a browser most likely runs on, and how it is told to whoever waits."""

import pytest

from keyfob.enrolment.platforms import Platform, describe_agent, find_browser, find_platform
from visits import ANDROID, IPAD, IPHONE, IPHONE_CHROME, LINUX, MAC, WINDOWS

KNOWN = [
    (IPHONE, Platform.IPHONE, "Safari", "iPhone, Safari"),
    (IPHONE_CHROME, Platform.IPHONE, "Chrome", "iPhone, Chrome"),
    (IPAD, Platform.IPAD, "Safari", "iPad, Safari"),
    (MAC, Platform.MAC, "Safari", "Mac, Safari"),
    (ANDROID, Platform.ANDROID, "Chrome", "Android, Chrome"),
    (ANDROID.replace("Chrome/", "SamsungBrowser/27.0 Chrome/"), Platform.ANDROID, "Samsung Internet", None),
    (WINDOWS, Platform.WINDOWS, "Edge", "Windows, Edge"),
    (LINUX, Platform.LINUX, "Firefox", "Linux, Firefox"),
    ("curl/8.5.0", Platform.LINUX, "curl", "curl"),
    ("", Platform.LINUX, None, "a program that nobody knows"),
]


@pytest.mark.parametrize(("agent", "platform", "browser", "said"), KNOWN)
def test_a_browser_is_known_by_what_it_says(
    agent: str, platform: Platform, browser: str | None, said: str | None
) -> None:
    """Almost everybody says Safari, and an iPhone says that it is like a Mac."""
    assert find_platform(agent) == platform
    assert find_browser(agent) == browser
    assert said in {None, describe_agent(agent)}


@pytest.mark.parametrize("agent", ["\x1b[2J", "<b>", "iPhone\x1b[31m Safari/1", "x" * 100_000])
def test_what_is_told_has_words_of_ours_alone(agent: str) -> None:
    """It is shown in a terminal."""
    known = {"iPhone", "Safari", "a", "program", "that", "nobody", "knows"}
    assert set(describe_agent(agent).replace(",", "").split()) <= known
