"""ca-config.json: what an authority puts into certificates, by the name of a profile."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from cryptography import x509

from keyfob.errors import PKIError
from keyfob.pki.cfssl.documents import Place, Table, read_document, suggest
from keyfob.pki.cfssl.hosts import Hosts, Warn
from keyfob.pki.cfssl.requests import read_path_length
from keyfob.pki.cfssl.subjects import Subject, read_oid
from keyfob.pki.cfssl.times import read_duration, read_moment
from keyfob.pki.cfssl.usages import Usages, read_usages

# What only a server of cfssl's, or a network, could obey. In a profile that is not used they stand in nobody's way.
REFUSED: Mapping[str, str] = {
    "auth_key": "it guards cfssl's own server; leave it out, and let the file system guard the key",
    "prev_auth_key": "it guards cfssl's own server; leave it out",
    "remote": "keys are used on this machine alone; leave it out, and give -ca and -ca-key",
    "auth_remote": "keys are used on this machine alone; leave it out, and give -ca and -ca-key",
    "ct_log_servers": "no public log takes certificates of a private authority; leave it out",
    "cert_store": "leave it out; the inventory of `keyfob issue` keeps what it has issued",
    "lint_error_level": "leave it out, and have zlint look at the certificate",
    "ignored_lints": "leave it out, and have zlint look at the certificate",
    "ignored_lint_sources": "leave it out, and have zlint look at the certificate",
    "CSRWhitelist": "leave it out; -hostname and a SUBJECT file say what stands in a certificate",
    "ClientProvidesSerialNumbers": "leave it out; serial numbers are random",
}
PROFILE_KEYS = (
    *("usages", "issuer_urls", "ocsp_url", "crl_url", "ca_constraint", "ocsp_no_check", "expiry", "backdate"),
    *("copy_extensions", "not_before", "not_after", "name_whitelist", "allowed_extensions", "policies"),
    *REFUSED,
)
CONFIG_KEYS = ("signing", "ocsp", "auth_keys", "remotes")


class Profile(NamedTuple):
    """What a certificate will say, whoever asks for it."""

    usages: Usages
    expiry: timedelta
    backdate: timedelta = timedelta()
    not_before: datetime | None = None
    not_after: datetime | None = None
    is_authority: bool = False
    path_length: int | None = None
    # None if the profile says nothing, so that the default's count; an empty list is something.
    issuer_urls: tuple[str, ...] | None = None
    ocsp_url: str = ""
    crl_url: str = ""
    ocsp_no_check: bool = False
    policies: tuple[x509.PolicyInformation, ...] = ()
    names: re.Pattern[str] | None = None
    copies_extensions: bool = False
    # Of a request's extensions, if they are copied; empty for all of them.
    allowed_extensions: tuple[x509.ObjectIdentifier, ...] = ()
    refusals: tuple[str, ...] = ()
    place: Place = Place("the default profile")

    def require_names(self, subject: Subject, hosts: Hosts) -> None:
        """Raises PKIError if a name is not among those that the profile's `name_whitelist` finds."""
        named = (*filter(None, [subject.common_name]), *hosts.dns, *hosts.emails, *hosts.uris)
        for name in named:
            if self.names is not None and not self.names.search(name):
                place = self.place.at("name_whitelist")
                raise PKIError(f"{name[:80]!r} is not allowed by {place}", "ask for a name that its pattern finds")


def make_default(expiry: timedelta = timedelta(hours=8760)) -> Profile:
    """cfssl's own profile, for where no other is given: a server's and a client's certificate in one."""
    words = ("signing", "key encipherment", "server auth", "client auth")
    return Profile(read_usages(words, Place("the default profile")), expiry)


class Config(NamedTuple):
    """A ca-config.json; `file` is what errors call it."""

    file: str
    default: Profile
    profiles: Mapping[str, Profile]

    def select(self, name: str, warn: Warn) -> Profile:
        """The profile of this name, or the default one for an empty name. Raises PKIError if it cannot be obeyed."""
        if name and name not in self.profiles:
            # cfssl would take the default one, which may allow more than the one that was meant.
            raise PKIError(f"{self.file} has no profile {name[:80]!r}", suggest(name[:80], self.profiles or ["none"]))
        profile = _inherit(self.profiles[name], self.default) if name else self.default
        for key in profile.refusals:
            profile.place.at(key).fail("cannot be obeyed here", REFUSED[key])
        for word in dict.fromkeys(profile.usages.passed_over):
            warn(f"{profile.place.at('usages')}: {word!r} is no usage, and passed over, as by cfssl")
        if not profile.usages:
            known = ", ".join(self.profiles) or "none yet"
            profile.place.fail("has no usages", f"name another profile with -profile: {known}")
        return profile


def _inherit(profile: Profile, default: Profile) -> Profile:
    return profile._replace(
        expiry=profile.expiry or default.expiry,
        crl_url=profile.crl_url or default.crl_url,
        ocsp_url=profile.ocsp_url or default.ocsp_url,
        issuer_urls=default.issuer_urls if profile.issuer_urls is None else profile.issuer_urls,
    )


def read_config(data: bytes, name: str, warn: Warn) -> Config:
    """The configuration in a JSON document that errors call `name`. Raises PKIError."""
    document = read_document(data, name, CONFIG_KEYS)
    signing = document.table("signing", ("default", "profiles"))
    if signing is None:
        document.place.fail('has no "signing"', 'write {"signing": {"default": {…}, "profiles": {…}}}')
    table = signing.table("default", PROFILE_KEYS)
    default = make_default() if table is None else _read_profile(table, warn)
    if not default.expiry and not _is_remote(default):
        signing.place.at("default").at("expiry").fail("is nought", 'write "8760h" for a year')
    profiles = {}
    for key, each in signing.named("profiles", PROFILE_KEYS):
        if isinstance(each, Table):
            profiles[key] = _read_profile(each, warn)
            if not profiles[key].usages and not _is_remote(profiles[key]):
                each.fail("usages", "are missing", 'write ["digital signature", "client auth"] for a device')
    return Config(name, default, profiles)


def _is_remote(profile: Profile) -> bool:
    return not {"remote", "auth_remote"}.isdisjoint(profile.refusals)


def _read_profile(table: Table, warn: Warn) -> Profile:
    refusals = tuple(key for key in REFUSED if table.says(key))
    if not table.text("expiry") and {"remote", "auth_remote"}.isdisjoint(refusals):
        table.fail("expiry", "is missing", 'write "8760h" for a year')
    begins = read_moment(table.text("not_before"), table.place.at("not_before"))
    ends = read_moment(table.text("not_after"), table.place.at("not_after"))
    if begins and ends and ends < begins:
        table.fail("not_after", "is before not_before", "put them in order")
    is_authority, path_length = _read_constraint(table, warn)
    return Profile(
        usages=read_usages(table.texts("usages") or (), table.place.at("usages")),
        expiry=read_duration(table.text("expiry"), table.place.at("expiry")),
        backdate=read_duration(table.text("backdate"), table.place.at("backdate")),
        not_before=begins,
        not_after=ends,
        is_authority=is_authority,
        path_length=path_length,
        issuer_urls=_read_urls(table, "issuer_urls"),
        ocsp_url=_require_url(table.text("ocsp_url"), table.place.at("ocsp_url")),
        crl_url=_require_url(table.text("crl_url"), table.place.at("crl_url")),
        ocsp_no_check=table.flag("ocsp_no_check"),
        policies=tuple(map(_read_policy, table.tables("policies", ("ID", "Qualifiers")))),
        names=_read_pattern(table),
        copies_extensions=table.flag("copy_extensions"),
        allowed_extensions=_read_allowed(table),
        refusals=refusals,
        place=table.place,
    )


def _read_constraint(table: Table, warn: Warn) -> tuple[bool, int | None]:
    constraint = table.table("ca_constraint", ("is_ca", "max_path_len", "max_path_len_zero"))
    if constraint is None:
        return False, None
    length = read_path_length(constraint, "max_path_len", "max_path_len_zero", warn)
    if length is not None and not constraint.flag("is_ca"):
        constraint.place.fail("a path length says nothing without is_ca", 'write "is_ca": true, or leave it out')
    return constraint.flag("is_ca"), length


def _read_urls(table: Table, key: str) -> tuple[str, ...] | None:
    texts, place = table.texts(key), table.place.at(key)
    return None if texts is None else tuple(_require_url(each, place.at(index)) for index, each in enumerate(texts))


def _require_url(text: str, place: Place) -> str:
    # Others than http go as well: RFC 5280 section 4.2.1.13 knows ldap.
    if text and not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]+", text):
        place.fail(f"{text[:80]!a} is no URL", 'write "http://ca.example.com/ca.crl"')
    return text


def _read_policy(table: Table) -> x509.PolicyInformation:
    oid = read_oid(table.text("ID"), table.place.at("ID"))
    qualifiers: list[str | x509.UserNotice] = []
    for each in table.tables("Qualifiers", ("Type", "Value")):
        match each.text("Type"):
            case "id-qt-cps":
                qualifiers.append(_require_url(each.text("Value"), each.place.at("Value")))
            case "id-qt-unotice":
                qualifiers.append(x509.UserNotice(None, _require_printable(each)))
            case kind:
                each.fail("Type", f"{kind[:40]!r} is no qualifier", 'write "id-qt-cps" or "id-qt-unotice"')
    return x509.PolicyInformation(oid, qualifiers or None)


def _require_printable(table: Table) -> str:
    text = table.text("Value")
    # RFC 5280 section 4.2.1.4: 200 characters at most.
    if not text or not text.isprintable() or len(text) > 200:
        table.fail("Value", f"{text[:40]!a} is no notice", "write a sentence of up to 200 characters")
    return text


def _read_allowed(table: Table) -> tuple[x509.ObjectIdentifier, ...]:
    place = table.place.at("allowed_extensions")
    texts = table.texts("allowed_extensions") or ()
    return tuple(read_oid(text, place.at(index)) for index, text in enumerate(texts))


# What Python's expressions know, and RE2, which cfssl is written for, does not; or what means something else there.
_NOT_IN_RE2 = re.compile(r"\(\?(?![imsU-]|:|P<)|\\[1-9ZG]|\[\[:|[*+?}]\+")


def _read_pattern(table: Table) -> re.Pattern[str] | None:
    text, hint = table.text("name_whitelist"), "write ^[a-z]+\\.example\\.com$, with both ends"
    if _NOT_IN_RE2.search(text):
        table.fail("name_whitelist", "has something in it that RE2 does not know", hint)
    try:
        # `$` is the end there, and in Python a last line's end as well; no name has one in it.
        return re.compile(text, re.ASCII) if text else None
    except (re.error, OverflowError, RecursionError) as error:
        table.fail("name_whitelist", f"is no expression: {error}", hint)
