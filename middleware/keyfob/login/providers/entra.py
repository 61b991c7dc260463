"""Microsoft Entra ID, which was Azure Active Directory: the people of one tenant, and their groups."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from keyfob.errors import KeyfobError, LoginFailed, LoginUnavailable
from keyfob.login.exchanges import Steps
from keyfob.login.providers.discovery import Metadata
from keyfob.login.providers.oauth import quote
from keyfob.login.providers.oidc import OpenIDConnect, name_groups, pick_address, read_values, require_answer
from keyfob.policy import Fact

_GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
# The tenant of all personal accounts.
_EVERYBODY = "9188040d-6c67-4c5b-b112-36a304b66dad"
# How many groups Microsoft Graph takes in one question.
_PAGE = 20


class EntraID(OpenIDConnect):
    """One tenant of Microsoft Entra ID, by the GUID of its directory.

    `login` and `graph` are Microsoft's own servers of logins and of Microsoft Graph: others are for tests. Raises
    KeyfobError for anything but the GUID of one tenant.
    """

    kind = "azureAD"
    afresh = "select_account"
    asks_again = False

    def __init__(
        self,
        *,
        id: str,  # noqa: A002 - what the configuration calls it
        name: str,
        client_id: str,
        client_secret: str,
        directory_id: str,
        authority: str = "",
        login: str = "https://login.microsoftonline.com",
        graph: str = "https://graph.microsoft.com",
    ) -> None:
        if _GUID.fullmatch(directory_id) is None or directory_id.lower() == _EVERYBODY:
            # `common` and its like stand for everybody's tenants, and anybody can have one.
            raise KeyfobError(
                f"{directory_id!r} is no tenant's GUID", "write the directory (tenant) ID of its overview"
            )
        super().__init__(
            id=id,
            name=name,
            client_id=client_id,
            client_secret=client_secret,
            issuer=f"{login}/{directory_id.lower()}/v2.0",
            authority=authority,
        )
        self._tenant, self._graph = directory_id.lower(), graph

    def find_scopes(self, named: frozenset[Fact], metadata: Metadata) -> Sequence[str]:
        """With groups to be looked up, also the right to look into one's own account."""
        more = [f"{self._graph}/User.Read"] if name_groups(named) else []
        return ["profile", "email", *more]

    def check(self, claims: Mapping[str, Any]) -> None:
        """It is this tenant's."""
        if claims.get("tid") != self._tenant:
            raise LoginFailed(f"the ID token is another tenant's: {quote(claims.get('tid'))}")
        if not isinstance(claims.get("oid"), str) or _GUID.fullmatch(claims["oid"]) is None:
            raise LoginFailed("the ID token does not say whose account it is")

    def find_subject(self, claims: Mapping[str, Any]) -> str:
        """The account's own id: `sub` is another one for each client."""
        return str(claims["oid"])

    def find_email(self, claims: Mapping[str, Any]) -> str:
        """What the tenant vouches for.

        `email` is whatever somebody has written there, unless `xms_edov` says that its domain was proved to be theirs.
        The name of a member is given by the tenant, in a domain of its own; a guest's is given by another tenant, which
        may be anybody's.
        """
        if claims.get("xms_edov") in (True, 1, "1", "true"):
            return pick_address(claims.get("email"))
        name = claims.get("preferred_username")
        return pick_address(name) if self._is_member(claims) and "#EXT#" not in str(name).upper() else ""

    def _is_member(self, claims: Mapping[str, Any]) -> bool:
        """Whether the account is the tenant's own. `acct` says so where it was asked for; guests have an `idp`."""
        homes = (None, self.issuer, f"https://sts.windows.net/{self._tenant}/")
        return claims.get("acct") in (None, 0, "0") and claims.get("idp") in homes

    def find_groups(self, claims: Mapping[str, Any], access: str, named: frozenset[Fact]) -> Steps[frozenset[str]]:
        """Those that rules name, from the token, or from Microsoft Graph where the token has none.

        There are none in it for those who are in more groups than it has room for, which `_claim_names` or `hasgroups`
        say, nor if the application was not told to put them there.
        """
        # Their letter case says nothing, and a word that is no GUID would spoil a whole question.
        wanted = {name.lower(): name for name in name_groups(named) if _GUID.fullmatch(name)}
        names = claims.get("_claim_names")
        is_elsewhere = "hasgroups" in claims or (isinstance(names, dict) and "groups" in names)
        if is_elsewhere or "groups" not in claims:
            found = yield from self._ask_groups(sorted(wanted), access)
        else:
            found = set(read_values(claims["groups"]))
        return frozenset(wanted[name] for name in {each.lower() for each in found} & wanted.keys())

    def _ask_groups(self, wanted: Sequence[str], access: str) -> Steps[set[str]]:
        """Which of these groups the person is in, also through others."""
        found: set[str] = set()
        for start in range(0, len(wanted), _PAGE):
            body = json.dumps({"groupIds": wanted[start : start + _PAGE]}).encode()
            answer = yield from self.ask("POST", f"{self._graph}/v1.0/me/checkMemberGroups", access, body)
            said = require_answer(answer, self.name, "grant the application User.Read of Microsoft Graph")
            if not isinstance(said.get("value"), list):
                raise LoginUnavailable(f"{self.name} gives no list of groups")
            found.update(read_values(said["value"]))
        return found
