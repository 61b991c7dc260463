"""The pages of a login."""

import html
from collections.abc import Sequence
from typing import NamedTuple

from keyfob.answer import Answer, compose_page


class Choice(NamedTuple):
    """One way to log in: what it is called, its kind, and where it begins."""

    name: str
    kind: str
    address: str


def compose_choice(application: str, choices: Sequence[Choice]) -> Answer:
    """The page on which somebody chooses."""
    links = "".join(
        f'<p><a class="button" href="{html.escape(each.address)}"><span class="mark" aria-hidden="true">'
        f"{html.escape(each.name[:1].upper())}</span>{html.escape(each.name)}</a></p>"
        for each in choices
    )
    return compose_page(200, f"Log in to {application}", f"<p>How do you want to log in?</p>{links}")


def compose_leaving(application: str, name: str, back: str) -> Answer:
    """The page that asks whether somebody wants to log out, and from where."""
    form = (
        f'<p>You are logged in as <strong>{html.escape(name)}</strong>.</p><form method="post">'
        f'<input type="hidden" name="to" value="{html.escape(back)}">'
        '<p><button name="where" value="here">Log out here</button></p>'
        '<p><button name="where" value="everywhere">Log out everywhere</button></p></form>'
        "<small>Everywhere: on all devices, from all apps behind this door.</small>"
    )
    return compose_page(200, f"Log out of {application}?", form)


def compose_left(login: str, headers: Sequence[tuple[bytes, bytes]] = ()) -> Answer:
    """The page for somebody who is logged out."""
    said = "<p>Where you have logged in, you may be logged in still.</p>"
    link = f'<p><a class="button" href="{html.escape(login)}">Log in again</a></p>'
    return compose_page(200, "You are logged out", f"{said}{link}", headers)
