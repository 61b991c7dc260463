"""The two pages of a login by mail: one asks for an address, the other for the code that went there."""

import html

from keyfob.answer import Answer, compose_page

# Who only looks at the page learns as much as who has been refused: the page is the same for every address.
_UNPROCESSABLE = 422
_INPUT = (
    "display:block;box-sizing:border-box;width:100%;min-height:3rem;margin:.5rem 0 1.5rem;padding:.5rem .75rem;"
    "border:1px solid var(--line);border-radius:.5rem;background:none;color:inherit;font:inherit"
)


def compose_address_form(
    application: str, action: str, state: str, *, typed: str = "", problem: str = "", status: int = _UNPROCESSABLE
) -> Answer:
    """The page that asks for an address. `problem` is what was wrong with the one that was `typed`."""
    form = (
        f'<form method="post" action="{html.escape(action)}">'
        f'<input type="hidden" name="state" value="{html.escape(state)}">'
        '<label for="email">Your email address</label>'
        f'<input id="email" name="email" type="email" value="{html.escape(typed)}" maxlength="254" required autofocus '
        f'autocomplete="email" autocapitalize="none" spellcheck="false" style="{_INPUT}"{_refer(problem)}>'
        "<p><button>Send me a code</button></p></form>"
    )
    return compose_page(
        status if problem else 200,
        f"Log in to {application}",
        f"{_tell(problem)}<p>You get a code by mail, and type it here.</p>{form}",
    )


def compose_code_form(
    application: str, action: str, state: str, *, email: str, minutes: int, another: str, problem: str = ""
) -> Answer:
    """The page that asks for the code. `another` is the address of the page that asks for another address."""
    form = (
        f'<form method="post" action="{html.escape(action)}">'
        f'<input type="hidden" name="state" value="{html.escape(state)}">'
        '<label for="code">The code</label>'
        '<input id="code" name="code" type="text" inputmode="numeric" autocomplete="one-time-code" maxlength="16" '
        f'pattern="[0-9 \\-]*" required autofocus style="{_INPUT}"{_refer(problem)}>'
        "<p><button>Log in</button></p></form>"
    )
    text = (
        f"<p>If {html.escape(email)} may log in here, a code of 8 digits is on its way there. It is good for {minutes} "
        f"{'minute' if minutes == 1 else 'minutes'}.</p>"
    )
    link = f'<small>Nothing there? <a href="{html.escape(another)}">Send another code</a></small>'
    return compose_page(
        _UNPROCESSABLE if problem else 200, f"Log in to {application}", f"{_tell(problem)}{text}{form}{link}"
    )


def _tell(problem: str) -> str:
    return f'<p id="problem" role="alert">{html.escape(problem)}</p>' if problem else ""


def _refer(problem: str) -> str:
    return ' aria-invalid="true" aria-describedby="problem"' if problem else ""
