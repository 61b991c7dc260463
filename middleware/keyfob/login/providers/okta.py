"""Okta: the people of one organization, and their groups."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from keyfob.errors import LoginFailed
from keyfob.login.exchanges import Steps
from keyfob.login.providers.discovery import Metadata
from keyfob.login.providers.oidc import OpenIDConnect, name_groups, read_values
from keyfob.policy import Fact

_LOGGER = logging.getLogger("keyfob.login")
# Where Okta ends a list without a word: what is not in one of this length may have been left out.
_CUT = 100


class Okta(OpenIDConnect):
    """One organization of Okta, at an `okta_account` such as `https://dev-1.okta.com`.

    `authorization_server_id` names one of its own authorization servers, such as `default`; empty for the
    organization's. Raises KeyfobError for an address that is none.
    """

    kind = "okta"
    groups_claim = "groups"

    def __init__(
        self,
        *,
        id: str,  # noqa: A002 - what the configuration calls it
        name: str,
        client_id: str,
        client_secret: str,
        okta_account: str,
        authorization_server_id: str = "",
        authority: str = "",
    ) -> None:
        account = okta_account.rstrip("/")
        super().__init__(
            id=id,
            name=name,
            client_id=client_id,
            client_secret=client_secret,
            issuer=f"{account}/oauth2/{authorization_server_id}" if authorization_server_id else account,
            authority=authority,
        )

    def find_scopes(self, named: frozenset[Fact], metadata: Metadata) -> Sequence[str]:
        """The scope with which Okta tells groups, where rules name any, and where it is known.

        One that an authorization server does not know would be an error, and it may tell groups without.
        """
        is_known = not metadata.scopes or self.groups_claim in metadata.scopes
        return ["profile", "email", *([self.groups_claim] if is_known and name_groups(named) else [])]

    def find_groups(self, claims: Mapping[str, Any], access: str, named: frozenset[Fact]) -> Steps[frozenset[str]]:
        """Their names, from the claim `groups`, which has to be set up there. Raises LoginFailed for a part of them."""
        yield from ()
        wanted = name_groups(named)
        if wanted and self.groups_claim not in claims:
            _LOGGER.warning("%s tells no groups: its application needs a claim 'groups' in the ID token", self.name)
        found = list(read_values(claims.get(self.groups_claim, [])))
        if len(found) == _CUT and not set(wanted) <= set(found):
            hint = "let the claim's filter match fewer groups"
            raise LoginFailed(f"{self.name} tells {_CUT} groups, and there may be more", hint)
        return frozenset(found)
