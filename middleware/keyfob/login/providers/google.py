"""Google: accounts of anybody, or of one Workspace domain and its groups."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from keyfob.errors import LoginFailed, LoginUnavailable
from keyfob.login.exchanges import Steps
from keyfob.login.providers.discovery import Metadata
from keyfob.login.providers.oauth import quote
from keyfob.login.providers.oidc import OpenIDConnect, name_groups, require_answer
from keyfob.policy import Fact
from keyfob.policy.selectors.texts import lower_ascii

_LOGGER = logging.getLogger("keyfob.login")
_GROUPS = "https://www.googleapis.com/auth/cloud-identity.groups.readonly"
# Where Google keeps the mailbox itself.
_MAILBOXES = ("@gmail.com", "@googlemail.com")
# What every group has that is one of Google Groups: a query has to name a label.
_LABEL = "cloudidentity.googleapis.com/groups.discussion_forum"
# The first answers 403 in editions without it.
_THROUGH, _DIRECT = "searchTransitiveGroups", "searchDirectGroups"
# Memberships in one answer, and answers: nobody is in more groups than these.
_PAGE, _PAGES = 200, 10


class Google(OpenIDConnect):
    """Google, for everybody with an account, or with `apps_domain` for one domain of Google Workspace.

    `issuer` and `directory` are Google's own servers of logins and of groups: others are for tests.
    """

    kind = "google"
    afresh = "select_account"
    asks_again = False

    def __init__(
        self,
        *,
        id: str,  # noqa: A002 - what the configuration calls it
        name: str,
        client_id: str,
        client_secret: str,
        apps_domain: str = "",
        authority: str = "",
        issuer: str = "https://accounts.google.com",
        directory: str = "https://cloudidentity.googleapis.com",
    ) -> None:
        super().__init__(
            id=id, name=name, client_id=client_id, client_secret=client_secret, issuer=issuer, authority=authority
        )
        self._apps_domain, self._directory = apps_domain.lower(), directory

    def find_scopes(self, named: frozenset[Fact], metadata: Metadata) -> Sequence[str]:
        """The right to look up groups, where rules name any."""
        return ["profile", "email", *([_GROUPS] if name_groups(named) else [])]

    def find_parameters(self) -> dict[str, str]:
        """The domain whose accounts are offered. It is only a wish: the token is what counts."""
        return {"hd": self._apps_domain} if self._apps_domain else {}

    def check(self, claims: Mapping[str, Any]) -> None:
        """It is an account of the domain."""
        domain = claims.get("hd")
        if self._apps_domain and (not isinstance(domain, str) or domain.lower() != self._apps_domain):
            raise LoginFailed(f"the account belongs to the domain {quote(domain)}")

    def find_email(self, claims: Mapping[str, Any]) -> str:
        """The address, where Google itself keeps the mailbox, or the domain's owner the account.

        Of any other one Google knows only that somebody has had mail there once.
        """
        email = super().find_email(claims)
        is_kept = lower_ascii(email).endswith(_MAILBOXES) or bool(claims.get("hd"))
        return email if is_kept else ""

    def find_groups(self, claims: Mapping[str, Any], access: str, named: frozenset[Fact]) -> Steps[frozenset[str]]:
        """The groups that the person is in, by their addresses (Cloud Identity API).

        Only accounts of Workspace are in any. Some editions look through groups that are in groups; the others tell
        those that the person is in directly.
        """
        email = self.find_email(claims)
        if not name_groups(named) or not email or "hd" not in claims:
            return frozenset()
        found = yield from self._list_groups(_THROUGH, email, access)
        if found is None:
            _LOGGER.warning("%s does not look through groups that are in groups, which its edition lacks", self.name)
            found = yield from self._list_groups(_DIRECT, email, access)
        return frozenset() if found is None else found

    def _list_groups(self, way: str, email: str, access: str) -> Steps[frozenset[str] | None]:
        """All of them, page by page; None where the account's edition has no such way."""
        found: set[str] = set()
        asked = {"query": _write_query(email), "pageSize": str(_PAGE)}
        for _ in range(_PAGES):
            url = f"{self._directory}/v1/groups/-/memberships:{way}?{urlencode(asked)}"
            answer = yield from self.ask("GET", url, access)
            if way == _THROUGH and answer.status == 403:
                return None
            said = require_answer(answer, self.name, "enable the Cloud Identity API, and its scope")
            found.update(_read_groups(said.get("memberships", []), self.name))
            if not said.get("nextPageToken"):
                return frozenset(found)
            asked["pageToken"] = str(said["nextPageToken"])
        raise LoginUnavailable(f"{self.name} lists more than {_PAGES * _PAGE} groups of one person")


def _write_query(email: str) -> str:
    """An expression of CEL, in which an address is nothing but a text. Raises LoginFailed for one that is more.

    No address has a quotation mark in it; some have an apostrophe.
    """
    if "\\" in email or '"' in email:
        raise LoginFailed(f"nobody can ask for the groups of {quote(email)}")
    mark = '"' if "'" in email else "'"
    return f"member_key_id == {mark}{email}{mark} && '{_LABEL}' in labels"


def _read_groups(memberships: object, who: str) -> set[str]:
    if not isinstance(memberships, list):
        raise LoginUnavailable(f"{who} gives no list of memberships")
    keys = [each.get("groupKey") for each in memberships if isinstance(each, dict)]
    return {key["id"] for key in keys if isinstance(key, dict) and isinstance(key.get("id"), str)}
