"""The pages of enrolment and renewal: for a phone first, without scripts and without anything from elsewhere."""

import time
from collections.abc import Sequence
from datetime import datetime
from html import escape
from typing import NamedTuple

from keyfob.enrolment.platforms import Platform
from keyfob.enrolment.steps import Handover, Place, find_renewal_steps, find_steps, render_steps
from keyfob.enrolment.style import compose

# What a button asks for: a configuration profile, or a PKCS#12 file; and when renewing, that file after its password.
PROFILE, FILE, SAVE = "profile", "p12", "file"
# iPhones hand a profile to the settings from Safari alone.
_SAFARI = "Safari"


class Visitor(NamedTuple):
    """Who looks, by what their browser says of itself."""

    platform: Platform
    browser: str | None


def render_invitation(handover: Handover, until: float, visitor: Visitor, place: Place) -> str:
    """The page that an open invitation's link leads to."""
    platform = visitor.platform
    if handover.born_on_device:
        said = f"It opens {escape(place.app)}. The iPhone or iPad makes it itself, and it never leaves the device."
        form, others = _render_phone_form(platform), []
        platform = Platform.IPHONE
    else:
        said = (
            f"This key opens {escape(place.app)}. It can be fetched only once, so press the button on the device that "
            "will keep it."
        )
        form, others = (
            _render_form(platform, first=True),
            [each for each in _OFFERED if each is not _as_offered(platform)],
        )
    button = (form, f"<small>Open until {format_time(until)}. Looking at this page uses nothing up.</small>")
    steps = ("<h2>Step by step</h2>", render_steps(find_steps(platform, handover, place)))
    # Where the authority has to be trusted first, whoever presses the button before that has pressed in vain.
    last = handover.born_on_device and place.authority
    parts = (
        f"<h1>A key for <bdi>{escape(handover.name)}</bdi></h1>",
        f"<p>{said}</p>",
        _warn_of_browser(visitor),
        *((*steps, *button) if last else (*button, *steps)),
        _render_others(others, handover, place),
    )
    return compose(f"A key for {handover.name}", "\n".join(parts))


def render_wrong_device(name: str) -> str:
    """Somebody pressed a button of an invitation that is for iPhones, on something else."""
    return render_message(
        "This key is for an iPhone or iPad",
        f"The invitation of {name} is for a key that is born on the device, which iPhones and iPads alone can do here. "
        "It was not used up: open the link there, or ask for an invitation without --born-on-device.",
    )


def render_program_invitation(name: str) -> str:
    """The page of an invitation for a program that speaks EST."""
    return render_message(
        "This invitation is for a program",
        f"The key of {name} is to be fetched by EST, as the command that made this invitation shows. There is nothing "
        "to press here, and looking at this page uses nothing up.",
    )


def render_used(at: float, address: str, *, tried: bool) -> str:
    """The page of an invitation that is used up; `tried` if somebody has just tried once more."""
    when, where = format_time(at, precise=True), escape(address)
    said = (
        "<h1>This key was handed out already</h1>",
        "<p>An invitation works once. This one was used:</p>",
        f"<dl><div><dt>When</dt><dd>{when}</dd></div><div><dt>From</dt><dd>{where}</dd></div></dl>",
        "<p>Your attempt was written down, and whoever made this invitation is told.</p>" if tried else "",
        "<p>Was that not you? Then tell the person who sent you here at once: the key has to be withdrawn.</p>",
        "<p>It was you, and no key arrived? Ask for a new invitation.</p>",
    )
    return compose("This key was handed out already", "\n".join(said), alone=True, bad=True)


def render_lapsed() -> str:
    """The page of an invitation that nobody has used in time, or that was withdrawn."""
    return render_message(
        "This invitation has lapsed",
        "Its time is over, or it was withdrawn, and its key was destroyed. Ask the person who sent you here for a new "
        "one.",
        bad=True,
    )


def render_unknown() -> str:
    """The page of a link that leads to no invitation."""
    return render_message(
        "There is no such invitation",
        "Is the whole link there? Scan the code once more, or ask the person who sent you here for a new one.",
        bad=True,
    )


def render_nowhere() -> str:
    """The page of every address that is none."""
    return render_message(
        "Keys are handed out here",
        "This address hands keys to devices that were invited, and does nothing else. Your invitation's link leads to "
        "the right page.",
    )


def render_message(title: str, words: str, *, bad: bool = False) -> str:
    """A page that says one thing; both are text."""
    return compose(title, f"<h1>{escape(title)}</h1>\n<p>{escape(words)}</p>", alone=True, bad=bad)


# --- Renewal ----------------------------------------------------------------------------------------------------------


def render_renewal(name: str, ends: datetime, visitor: Visitor, place: Place) -> str:
    """The page on which a device renews its key."""
    platform = visitor.platform
    if platform.takes_profiles:
        what = "The new one comes as a profile and takes the old one's place, without a password to type."
    else:
        what = "The new one comes as a file, and the next page says its password."
    parts = (
        f"<h1>Renew the key of <bdi>{escape(name)}</bdi></h1>",
        f"<p>The key that opens {escape(place.app)} on this device ends on <b>{format_day(ends)}</b>. {what}</p>",
        _warn_of_browser(visitor),
        _render_form(platform, first=True, renews=True),
        "<small>The old key goes on working for a week, so nothing is lost if something comes in between.</small>",
    )
    if not platform.takes_profiles:
        return compose("Renew this device's key", "\n".join(parts), alone=True)
    steps = ("<h2>Step by step</h2>", render_steps(find_renewal_steps(name, place)))
    return compose("Renew this device's key", "\n".join((*parts, *steps)))


def render_password(handover: Handover, password: str, platform: Platform, place: Place, until: float) -> str:
    """The page that says a renewed key's password and has its file. To be shown to the device itself alone."""
    download = (
        f'<form method="post"><button class="button" name="as" value="{SAVE}">Download the new key</button></form>'
    )
    parts = (
        f"<h1>The new key of <bdi>{escape(handover.name)}</bdi></h1>",
        "<p>Download it, and type this password when you install it:</p>",
        f'<div class="note"><code class="password">{escape(password)}</code></div>',
        download,
        f"<small>Both are here until {format_time(until)}, for this device alone.</small>",
        "<h2>Step by step</h2>",
        render_steps(find_steps(platform, handover, place)),
    )
    return compose(f"The new key of {handover.name}", "\n".join(parts))


def render_stranger() -> str:
    """The page for a key that is good, and that nobody here has made."""
    return render_message(
        "This key cannot be renewed here",
        "It is not in this server's inventory. Ask the person who runs the app for a new one.",
        bad=True,
    )


def render_early(ends: datetime) -> str:
    """The page for a key that has time yet."""
    return render_message(
        "There is nothing to renew yet",
        f"The key of this device is good until {format_day(ends)}. Towards the end the app offers a new one.",
    )


def render_renewed(name: str, retires_at: float | None) -> str:
    """The page for a key whose successor was handed out some time ago."""
    left = f" The old one works until {format_day(_to_moment(retires_at))}." if retires_at is not None else ""
    return render_message(
        "The new key was handed out already",
        f"{name} has renewed its key.{left} If the new one never arrived, ask the person who runs the app for an "
        "invitation.",
    )


def render_no_authority(name: str) -> str:
    """The page where renewing has to be done by whoever has the authority's key."""
    return render_message(
        "Ask the person who runs this app",
        f"The key of {name} is to be renewed, but this server does not hold the authority's key. Whoever does can send "
        "you an invitation.",
    )


# --- Parts ------------------------------------------------------------------------------------------------------------

_OFFERED = (Platform.IPHONE, Platform.ANDROID, Platform.MAC, Platform.WINDOWS, Platform.LINUX)
_TITLES = {Platform.IPHONE: "iPhone or iPad", Platform.LINUX: "Linux, or Firefox anywhere"}
_FORM = '<form method="post">{}</form>'


def _as_offered(platform: Platform) -> Platform:
    return Platform.IPHONE if platform is Platform.IPAD else platform


def _button(value: str, text: str, *, second: bool = False) -> str:
    return f'<button class="button{" second" if second else ""}" name="as" value="{value}">{escape(text)}</button>'


def _render_form(platform: Platform, *, first: bool, renews: bool = False) -> str:
    """The button that uses the invitation. A Mac has two: an iPad says of itself that it is one."""
    verb = "Renew the key on" if renews else "Put the key on"
    if platform.takes_profiles:
        buttons = _button(PROFILE, f"{verb} this {platform}", second=not first)
    elif platform is Platform.MAC and first:
        buttons = _button(FILE, f"{verb} this Mac") + _button(PROFILE, "This is an iPad", second=True)
    elif platform is Platform.LINUX:
        buttons = _button(FILE, "Renew the key" if renews else "Download the key", second=not first)
    else:
        device = "phone" if platform is Platform.ANDROID else "computer"
        buttons = _button(FILE, f"{verb} this {platform} {device}", second=not first)
    return _FORM.format(buttons)


def _render_phone_form(platform: Platform) -> str:
    if platform.takes_profiles:
        return _render_form(platform, first=True)
    # An iPad says of itself that it is a Mac, until it is asked not to.
    button = _button(PROFILE, "This is an iPad: go on", second=True) if platform is Platform.MAC else ""
    return _not_for(platform) + (_FORM.format(button) if button else "")


def _render_others(others: Sequence[Platform], handover: Handover, place: Place) -> str:
    if not others:
        return ""
    details = "".join(_render_other(each, handover, place) for each in others)
    return f"<h2>On another device?</h2>\n<p>Open this page there. Its steps are these:</p>\n{details}"


def _render_other(platform: Platform, handover: Handover, place: Place) -> str:
    title = escape(_TITLES.get(platform, str(platform)))
    steps = render_steps(find_steps(platform, handover, place))
    return f"<details><summary>{title}</summary>{_render_form(platform, first=False)}{steps}</details>"


def _warn_of_browser(visitor: Visitor) -> str:
    platform, browser = visitor
    if not platform.takes_profiles or browser in {_SAFARI, None}:
        return ""
    words = (
        f"<p><b>This is {escape(str(browser))}.</b> An {platform} takes keys from Safari alone: copy this page's "
        "address, and open it there.</p>"
    )
    return f'<div class="note bad">{words}</div>'


def _not_for(platform: Platform) -> str:
    kind = {Platform.ANDROID: "an Android device", Platform.LINUX: "a computer"}.get(platform, f"a {platform}")
    words = f"<b>This looks like {kind}.</b> The invitation is for an iPhone or iPad: open its link there."
    return f'<div class="note bad"><p>{words}</p></div>'


def format_time(at: float, *, precise: bool = False) -> str:
    """A moment in the server's own zone, as HTML: `14:15` of today, and the whole of it where `precise`."""
    moment = _to_moment(at)
    shown = f"{moment:%H:%M:%S}, {format_day(moment)} ({moment:%Z})" if precise else f"{moment:%H:%M}"
    if not precise and moment.date() != _to_moment(time.time()).date():
        shown = f"{shown} on {format_day(moment)}"
    return f'<time datetime="{moment.isoformat(timespec="seconds")}">{escape(shown)}</time>'


def _to_moment(at: float) -> datetime:
    return datetime.fromtimestamp(at).astimezone()


def format_day(day: datetime) -> str:
    """`23 November 2025`."""
    return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"


# strftime would take them from the server's locale.
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
