"""What the pages hand keys out from, and the profiles in which iPhones take them."""

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from starlette.responses import Response

from keyfob.enrolment.steps import Place
from keyfob.errors import PKIError
from keyfob.pki.exports import Signer
from keyfob.pki.profiles import (
    MEDIA_TYPE,
    Payload,
    make_identifier,
    make_profile,
    read_icon,
    root_payload,
    scep_payload,
    sign_profile,
    web_clip,
)
from keyfob.pki.registry import Registry

# What a server leaves in the inventory, so that commands and pages know where everything is.
ENROLMENT_URL, APP_URL, APP_NAME = "enrolment.url", "app.url", "app.name"
# The authority of the server there, if that is one that new devices do not know; empty if it is.
ENROLMENT_AUTHORITY = "enrolment.authority"

P12_TYPE = "application/x-pkcs12"
UNNAMED_APP = "the app"


@dataclass(frozen=True)
class Outlet:
    """A registry, and how its servers look to a device.

    `own_server` says that the servers' certificates are of the registry's own authority, which devices have to be told
    to trust. `signer` signs profiles, where there is one whom phones trust already. Every method raises PKIError.
    """

    registry: Registry
    own_server: bool = True
    signer: Signer | None = None

    def find_place(self) -> Place:
        """Where the keys lead, as the server has written it down."""
        inventory = self.registry.inventory
        name, url = inventory.read_setting(APP_NAME), inventory.read_setting(APP_URL)
        return Place(name or UNNAMED_APP, url, name_authority(self.registry.root) if self.own_server else None)

    def compose_profile(self, name: str, make_key: Callable[[str], Payload]) -> bytes:
        """A profile for the device `name`: the root, if it needs that, its key, and the app's icon.

        `make_key` makes the payload of the key for the profile's identifier.
        """
        place, root = self.find_place(), self.registry.root
        identifier = make_identifier(root, name, place.url or "")
        payloads = [root_payload(root, identifier)] if self.own_server else []
        payloads.append(make_key(identifier))
        if place.url is not None:
            label = place.app if place.app != UNNAMED_APP else urlsplit(place.url).hostname or name
            payloads.append(web_clip(place.url, label, read_icon(), identifier))
        title = name if place.app == UNNAMED_APP else f"{place.app} ({name})"
        return self._sign(make_profile(title, name_authority(root), identifier, payloads))

    def compose_root_profile(self) -> bytes:
        """The root alone."""
        root = self.registry.root
        identifier = make_identifier(root, name_authority(root))
        return self._sign(
            make_profile(name_authority(root), name_authority(root), identifier, [root_payload(root, identifier)])
        )

    def make_scep_key(self, name: str, challenge: str) -> Callable[[str], Payload]:
        """For `compose_profile`: a key that the phone makes itself, and has signed at this server's SCEP responder."""
        base = self.registry.inventory.read_setting(ENROLMENT_URL)
        if base is None:
            raise PKIError("no server has said where its enrolment pages are", "start `keyfob serve` once more")
        # Of the certificates that GetCACert lists, the one that has issued the responder's own.
        # An iPhone holds it against the last certificate of the chain that GetCACert gives.
        fingerprint = self.registry.root.fingerprint(hashes.SHA256())
        return lambda identifier: scep_payload(f"{base}/scep", "keyfob", name, challenge, fingerprint, identifier)

    def _sign(self, profile: bytes) -> bytes:
        return profile if self.signer is None else sign_profile(profile, *self.signer)


def name_authority(root: x509.Certificate) -> str:
    """How devices call the authority."""
    named = [str(each.value) for each in root.subject if each.oid == x509.NameOID.COMMON_NAME]
    return named[0] if named else "keyfob"


def answer_profile(profile: bytes, name: str) -> Response:
    """A configuration profile, as Safari takes it."""
    return answer_file(profile, MEDIA_TYPE, f"{name}.mobileconfig")


def answer_file(data: bytes, media_type: str, name: str) -> Response:
    """A file to be saved under `name`. RFC 6266: once in ASCII, for old programs, and once as it is."""
    plain = "".join(each if each.isascii() and each not in '"\\%' else "_" for each in name)
    disposition = f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
    return Response(data, 200, {"content-disposition": disposition}, media_type)
