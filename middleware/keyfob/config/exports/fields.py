"""Every member that an application, a policy, a group or a list may have, and what becomes of it: one closed table."""

from collections.abc import Callable, Mapping
from enum import Enum
from typing import NamedTuple

from keyfob.config.exports.findings import Findings, Item, Kind, Table, did_you_mean, says_something


class Use(Enum):
    """What becomes of a member."""

    READ = "goes into our own document"
    SAID = "goes into our own document if it says something"
    ASKED = "the same, if a policy of the application asks for a login"
    IGNORED = "says nothing about who gets in"
    LOGIN = "is a problem if it says something and a policy of the application asks for a login"
    UNSUPPORTED = "is a problem if it says something"


class Field(NamedTuple):
    """One row: the use of a member, what it is about, what to do about it, and when it says something."""

    use: Use
    about: str
    hint: str
    says_something: Callable[[object], bool]


def _asks_for_mfa(value: object) -> bool:
    return says_something(value) and not (isinstance(value, dict) and value.get("mfa_disabled") is True)


def _is_switched_on(value: object) -> bool:
    return says_something(value) and not (isinstance(value, dict) and value.get("enabled") is False)


_Rows = Mapping[str, Field]


def _read(names: str) -> _Rows:
    return dict.fromkeys(names.split(), Field(Use.READ, "", "", says_something))


def _said(use: Use, names: str) -> _Rows:
    return dict.fromkeys(names.split(), Field(use, "", "", says_something))


def _ignored(about: str, names: str) -> _Rows:
    return dict.fromkeys(names.split(), Field(Use.IGNORED, about, "", says_something))


def _only_empty(
    use: Use, name: str, about: str, hint: str = "", when: Callable[[object], bool] = says_something
) -> _Rows:
    return {name: Field(use, about, hint or "take it out of the export if nobody needs it here", when)}


SIDES = ("include", "require", "exclude")

_COMMON = {**_read("id name"), **_ignored("where and when it was made", "uid created_at updated_at account_id zone_id")}

FIELDS: Mapping[Kind, _Rows] = {
    Kind.APPLICATION: {
        **_COMMON,
        **_read("type domain domain_type self_hosted_domains destinations policies"),
        **_ignored("the audience of Access's own tokens", "aud"),
        **_ignored("how the launcher shows it", "tags app_launcher_visible logo_url"),
        **_ignored("how the launcher looks", "app_launcher_logo_url bg_color header_bg_color footer_links"),
        **_ignored("how the launcher looks", "landing_page_design skip_app_launcher_login_page"),
        **_ignored("what the refused are told", "custom_deny_message custom_deny_url custom_non_identity_deny_url"),
        **_ignored("what the refused are told", "custom_pages service_auth_401_redirect"),
        **_ignored("cookies of Access's own", "enable_binding_cookie http_only_cookie_attribute path_cookie_attribute"),
        **_ignored("cookies of Access's own", "same_site_cookie_attribute eager_redirect_cookie_setting"),
        **_said(Use.SAID, "session_duration options_preflight_bypass cors_headers"),
        **_said(Use.ASKED, "allowed_idps"),
        **_ignored("the way to a login, not its outcome", "auto_redirect_to_identity skip_interstitial"),
        **_ignored("what browsers do with a page that was served", "allow_iframe"),
        **_ignored("one more way in, which is not there here", "use_clientless_isolation_app_launcher_url"),
        **_ignored("brings accounts to the app, and lets nobody in", "scim_config"),
        **_only_empty(Use.LOGIN, "allow_authenticate_via_warp", "a WARP session in place of a login"),
        **_only_empty(Use.LOGIN, "mfa_config", "a second factor of Access's own", when=_asks_for_mfa),
        **_only_empty(
            Use.UNSUPPORTED,
            "read_service_tokens_from_header",
            "service tokens in a header of one's own",
            "have them sent in CF-Access-Client-Id and CF-Access-Client-Secret",
        ),
        **_only_empty(Use.UNSUPPORTED, "oauth_configuration", "logins that Access itself grants", when=_is_switched_on),
        **_only_empty(Use.UNSUPPORTED, "saas_app", "the login of somebody else's service"),
        **_only_empty(Use.UNSUPPORTED, "target_criteria", "machines behind SSH and RDP"),
        **_only_empty(Use.UNSUPPORTED, "gateway_rules", "rules of another product"),
        **_only_empty(Use.UNSUPPORTED, "private_address", "an address that only WARP reaches"),
    },
    Kind.POLICY: {
        **_COMMON,
        **_read("decision include require exclude precedence application_id"),
        **_ignored("who else uses it", "reusable app_count"),
        **_said(Use.SAID, "session_duration"),
        **_ignored("of no effect without its switch", "purpose_justification_prompt approval_groups approval_group"),
        **_only_empty(Use.UNSUPPORTED, "purpose_justification_required", "a reason that people have to give"),
        **_only_empty(Use.UNSUPPORTED, "approval_required", "somebody's approval"),
        **_only_empty(Use.UNSUPPORTED, "isolation_required", "a browser in the cloud"),
        **_only_empty(Use.UNSUPPORTED, "mfa_config", "a second factor of Access's own", when=_asks_for_mfa),
        **_only_empty(Use.UNSUPPORTED, "connection_rules", "rules for SSH and RDP"),
    },
    Kind.GROUP: {
        **_COMMON,
        **_read("include require exclude"),
        **_ignored("what a new application begins with", "is_default"),
    },
    Kind.LIST: {
        **_COMMON,
        **_read("type items items_with_description count list_count"),
        **_ignored("a note", "description"),
    },
}


def keep_fields(item: Item, findings: Findings) -> tuple[Table, list[str]]:
    """The members that are read, and the names of those that matter to a login. What is refused stays in as well."""
    kept: Table = {}
    for_login: list[str] = []
    for key, value in item.table.items():
        field = FIELDS[item.kind].get(key)
        if field is None:
            article = "an" if item.kind is Kind.APPLICATION else "a"
            hint = did_you_mean(key, FIELDS[item.kind])
            findings.refuse(f"{item.place}.{key}", f"is no known member of {article} {item.kind}", hint)
        elif field.use in {Use.LOGIN, Use.ASKED} and field.says_something(value):
            for_login.append(key)
            continue
        elif field.use is Use.SAID and field.says_something(value):
            kept[key] = _unpack(value)
            continue
        elif field.use is Use.UNSUPPORTED and field.says_something(value):
            refuse_field(item, key, findings)
        elif field.use is not Use.READ:
            continue
        kept[key] = value
    return kept, for_login


def _unpack(value: object) -> object:
    """A block of Terraform is a list of one table; what it leaves out is there, too, and says nothing."""
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
        value = value[0]
    if isinstance(value, dict):
        return {key: each for key, each in value.items() if says_something(each)}
    return value


def is_asked(kind: Kind, key: str) -> bool:
    """Whether a member goes into our own document where a policy asks for a login."""
    field = FIELDS[kind].get(key)
    return field is not None and field.use is Use.ASKED


def refuse_field(item: Item, key: str, findings: Findings) -> None:
    """A member that says something which only Access itself can do."""
    field = FIELDS[item.kind][key]
    findings.refuse(f"{item.place}.{key}", f"is not supported: {field.about}", field.hint)


def is_read(kind: Kind, key: str) -> bool:
    """Whether a member goes into our own document."""
    field = FIELDS[kind].get(key)
    return field is not None and field.use in {Use.READ, Use.SAID, Use.ASKED}
