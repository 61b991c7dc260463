"""From the button to the open app, on each kind of device: what to do in words, and a drawing of how it looks."""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from keyfob.enrolment import drawings
from keyfob.enrolment.platforms import Platform

# Where this server gives its authority's certificate to whoever asks.
ROOT_PROFILE, ROOT_FILE = "/ca.mobileconfig", "/ca.crt"


class Place(NamedTuple):
    """Where a key leads. `authority` is the name of the app's own, if devices have to be told to trust it."""

    app: str
    url: str | None
    authority: str | None


class Handover(NamedTuple):
    """What is handed to whom: a file whose password was said elsewhere, or a key that is born on the device."""

    name: str
    born_on_device: bool = False
    where: str = "that you were given with the invitation"
    """Of the password, as words behind it."""


class Step(NamedTuple):
    """`words` and `drawing` are HTML."""

    title: str
    words: str
    drawing: str = ""


def render_steps(steps: Sequence[Step]) -> str:
    """The steps as a numbered list."""
    items = (f"<li><h3>{escape(each.title)}</h3><p>{each.words}</p>{each.drawing}</li>" for each in steps)
    return f'<ol class="steps">{"".join(items)}</ol>'


def find_steps(platform: Platform, handover: Handover, place: Place) -> list[Step]:
    """What is to be done on such a device after its button was pressed."""
    steps = {
        Platform.IPHONE: _walk_iphone,
        Platform.IPAD: _walk_iphone,
        Platform.ANDROID: _walk_android,
        Platform.MAC: _walk_mac,
        Platform.WINDOWS: _walk_windows,
        Platform.LINUX: _walk_linux,
    }
    return [step for step in steps[platform](handover, place) if step is not None]


def _trail(*places: str) -> str:
    """Where in the settings something is."""
    return " &rsaquo; ".join(f"<b>{escape(each)}</b>" for each in places)


_ANDROID_TRAIL = _trail(
    "Settings", "Security & privacy", "More security", "Encryption & credentials", "Install a certificate"
)


def name_file(name: str) -> str:
    """The file's name on the device."""
    return f"{name}.p12"


def _walk_iphone(handover: Handover, place: Place) -> list[Step | None]:
    downloaded = Step(
        "Open Settings",
        "Tap <b>Profile Downloaded</b>, near the top. It stays there for eight minutes.",
        drawings.draw_downloaded(),
    )
    # Servers that devices trust by themselves sign it.
    unsigned = " It says Not Signed; that is fine here: it comes from your own server." if place.authority else ""
    install = Step(
        "Install the profile",
        f"Tap <b>Install</b> and type the passcode of this device.{unsigned}",
        drawings.draw_install(handover.name),
    )
    return [
        _trust_first(place) if handover.born_on_device else None,
        Step("Allow the download", "Press the button. Safari asks once more: tap <b>Allow</b>.", drawings.draw_allow()),
        downloaded,
        install,
        _make_key() if handover.born_on_device else _type_password_on_iphone(handover),
        None if handover.born_on_device else _trust_on_iphone(place),
        _open(place, "in Safari", "Its icon is on the home screen, too."),
    ]


def find_renewal_steps(name: str, place: Place) -> list[Step]:
    """What to do on an iPhone or iPad that renews its key: the profile brings its password along."""
    walk = _walk_iphone(Handover(name), place._replace(authority=None))
    return [step for step in walk if step is not None and step.title != _PASSWORD]


_PASSWORD = "Type the password"  # noqa: S105 - a title


def _make_key() -> Step:
    return Step("Wait a moment", "The device makes a key of its own, which never leaves it, and has it signed here.")


def _type_password_on_iphone(handover: Handover) -> Step:
    words = (
        f"Type the password {handover.where}, with its hyphens. If you are not asked for one, stop, "
        "remove the profile, and tell whoever sent you here."
    )
    return Step(_PASSWORD, words, drawings.draw_password())


def _trust_on_iphone(place: Place) -> Step | None:
    if place.authority is None:
        return None
    words = (
        f"Open {_trail('Settings', 'General', 'About', 'Certificate Trust Settings')}, at the very end, and turn "
        f"on <b>{escape(place.authority)}</b>. Without it Safari does not know the app's server."
    )
    return Step("Trust the authority", words, drawings.draw_trust(place.authority))


def _trust_first(place: Place) -> Step | None:
    trust = _trust_on_iphone(place)
    if trust is None:
        return None
    fetch = f'Fetch <a href="{ROOT_PROFILE}">the authority\'s profile</a> and install it as below.'
    return Step("First, trust the authority", f"{fetch} {trust.words}", trust.drawing)


def _walk_android(handover: Handover, place: Place) -> list[Step | None]:
    file = name_file(handover.name)
    return [
        Step("Open the file", f"Press the button, then open <b>{escape(file)}</b>.", drawings.draw_file(file)),
        Step(
            "Type the password",
            f"It is the one {handover.where}, with its hyphens. If nothing asks for it: {_ANDROID_TRAIL}. Makers call "
            "these differently; search the settings for “certificate”.",
        ),
        Step("Say what it is for", "Choose <b>VPN &amp; app user certificate</b>.", drawings.draw_use()),
        _trust_file(
            place,
            "install it in the same place as a <b>CA certificate</b>. Without it Chrome warns of the app's server.",
        ),
        _choose(handover, place, "in Chrome, Edge or Samsung Internet", " Firefox on Android shows none."),
        _delete(),
    ]


def _walk_mac(handover: Handover, place: Place) -> list[Step | None]:
    file = escape(name_file(handover.name))
    return [
        Step(
            "Open the file",
            f"Press the button, then open <b>{file}</b> from Downloads. Keychain Access asks for the password "
            f"{handover.where}; take the <b>login</b> keychain.",
            drawings.draw_import("Keychain Access", "OK"),
        ),
        _trust_file(place, "open it, and in Keychain Access, under <b>Trust</b>, choose <b>Always Trust</b> for it."),
        _choose(handover, place, "in Safari, Chrome or Edge"),
        _delete(),
    ]


def _walk_windows(handover: Handover, place: Place) -> list[Step | None]:
    file = escape(name_file(handover.name))
    return [
        Step(
            "Open the file",
            f"Press the button, then open <b>{file}</b>. Choose <b>Current User</b>, type the password "
            f"{handover.where}, and leave the rest as it is.",
            drawings.draw_import("Certificate Import", "Next"),
        ),
        _trust_file(
            place, "open it, and install it for the current user under <b>Trusted Root Certification Authorities</b>."
        ),
        _choose(handover, place, "in Edge or Chrome"),
        _delete(),
    ]


def _walk_linux(handover: Handover, place: Place) -> list[Step | None]:
    file = escape(name_file(handover.name))
    return [
        Step(
            "Import the file",
            f"Press the button. Then bring <b>{file}</b> into the browser under <b>Your Certificates</b>, with the "
            f"password {handover.where}. In Firefox that is "
            f"{_trail('Settings', 'Privacy & Security', 'View Certificates')}, in Chromium "
            f"{_trail('Settings', 'Privacy and security', 'Security', 'Manage certificates')}.",
            drawings.draw_import("Your Certificates", "Import"),
        ),
        _trust_file(place, "import it in the same place under <b>Authorities</b>, to identify websites."),
        _choose(handover, place, "in that browser"),
        _delete(),
    ]


def _trust_file(place: Place, words: str) -> Step | None:
    if place.authority is None:
        return None
    fetch = f'Fetch <a href="{ROOT_FILE}">the certificate of {escape(place.authority)}</a>, '
    return Step("Trust the authority", fetch + words)


def _open(place: Place, where: str, more: str) -> Step:
    return Step("Open the app", f"{_link(place)} {where}. {more}")


def _choose(handover: Handover, place: Place, where: str, more: str = "") -> Step:
    words = f"{_link(place)} {where}, and choose this key.{more}"
    return Step("Open the app", words, drawings.draw_choose(handover.name))


def _link(place: Place) -> str:
    app = escape(place.app)
    return f"Open {app}" if place.url is None else f'Open <a href="{escape(place.url)}">{app}</a>'


def _delete() -> Step:
    return Step("Delete the file", "It is the key: once it is installed, nobody needs it in Downloads.")
