"""A certificate in the headers that a trusted proxy writes."""

from binascii import b2a_base64
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from keyfob.addresses import Address
from keyfob.errors import CertificateError, HeaderMalformed, HeaderTooLarge, Missing, Untrusted
from keyfob.request import IDENTITY, LONGEST_HOST, SOCKET_PEER, UNCLEAR, Headers, Request, make_tuple, parse_host
from keyfob.sources import Chain
from keyfob.sources.formats import (
    CERTIFICATES,
    CHAIN_DECODER,
    NO_CERTIFICATE,
    Format,
    canonical,
    is_certificate_header,
)
from keyfob.sources.peers import FORWARDING, Peers

# How many arrangements of header names are remembered. Browsers have a handful.
LAYOUTS = 256
LARGEST_CERTIFICATE = 16 * 1024


class Layout(NamedTuple):
    """Where in one arrangement of header names everything stands that matters here, as indices.

    `trouble` says why such an arrangement cannot be believed. `hidden` are the headers that the app must not see, the
    last one first. `names` are the names themselves, until the arrangement is remembered by them; from then on `glance`
    is the certificate's index and its proofs, if there is nothing else to look at.
    """

    length: int
    host: int | None
    certificate: int | None
    proofs: Sequence[tuple[int | None, bytes]]
    hidden: Sequence[int]
    glance: tuple[int, Sequence[tuple[int, bytes]]] | None
    chain: Sequence[int]
    secrets: Sequence[int]
    forwarding: Sequence[int]
    trouble: str
    names: Sequence[bytes]


class HeaderSource:
    """Reads the headers of one format, if the sender is to be believed.

    `secret_header` is the name under which `peers` send their shared secret, if they do. `largest` is how many bytes
    all the values may have together that one certificate and its chain arrive in.
    """

    def __init__(
        self, form: Format, peers: Peers, *, secret_header: str = "", largest: int = LARGEST_CERTIFICATE
    ) -> None:
        self._form = form
        self._peers = peers
        self._known = peers.known
        self._largest = largest
        self._secret = secret_header.lower().encode("ascii")
        self._certificate = form.certificate.encode("ascii")
        self._chain = form.chain.encode("ascii")
        self._proofs = {name.encode("ascii"): good.encode("ascii") for name, good in form.proofs.items()}
        self._single = {name for name in (self._certificate, self._secret, *self._proofs) if name}
        self._own = self._single | {name.encode("ascii") for name in form.headers}
        self._layouts: dict[bytes, Layout] = {}

    def receive(self, scope: Mapping[str, Any], at: float) -> Request:
        """The request, with the certificate's value if everything is as it was when `presented` believed it before.

        That is: the same header names, the same words of the proxy, and a server of ours that says that the sender is
        an address which was trusted before. Written out, because a call costs as much as what it would do.
        """
        headers = scope["headers"]
        names = [name for name, _ in headers]
        layout = self._layouts.get(b"\n".join(names))
        # No header's name holds a line end; if one did, the same text could be another number of names.
        if layout is None or layout.length != len(names):
            layout = self._arrange(names)
        presented = None
        if layout.glance is not None and scope.get("method") != "CONNECT":
            index, proofs = layout.glance
            try:
                extensions = scope["extensions"]
                if extensions[SOCKET_PEER]["client"][0] in self._known and UNCLEAR not in extensions:
                    presented = headers[index][1]
                    for index, good in proofs:
                        if headers[index][1] != good:
                            presented = None
            except (KeyError, TypeError):
                pass
        visible = list(headers)
        for index in layout.hidden:
            del visible[index]
        named = b"" if layout.host is None else headers[layout.host][1]
        found = parse_host(named) if len(named) <= LONGEST_HOST else None
        return make_tuple(Request, (scope, found, at, presented, visible, None))

    def presented(self, request: Request) -> Hashable:
        """The values that the proxy wrote, taken from a trusted one, in one unmistakable place, and vouched for.

        Raises PeerNotTrusted, PeerUnclear, HeaderMalformed, Missing or Untrusted.
        """
        if request.method == "CONNECT":
            # Answered with 2xx, it would make a proxy a mere wire: what comes next would be the client's own words.
            raise HeaderMalformed("CONNECT through a proxy that hands over certificates")
        headers = request.headers
        layout = self._find_layout(headers)
        self._peers.require(request, _pick_values(headers, layout.secrets), _pick(headers, layout.forwarding))
        if layout.trouble:
            raise HeaderMalformed(layout.trouble)
        if layout.certificate is None or headers[layout.certificate][1].strip(_BLANK) in NO_CERTIFICATE:
            if IDENTITY in request.scope:
                raise Missing(f"no certificate in {self._form.certificate}", _TWO_GATES)
            raise self._describe_missing(layout, headers)
        self._require_proofs(layout, headers)
        if layout.names:
            self._remember(layout)
        value = headers[layout.certificate][1]
        return (value, *_pick_values(headers, layout.chain)) if layout.chain else value

    def presents_nothing(self, request: Request) -> bool:
        """Whether a proxy that is believed says that there is no certificate."""
        try:
            self.presented(request)
        except Missing:
            return True
        except CertificateError:
            return False
        return False

    def read(self, presented: bytes | tuple[bytes, ...]) -> Chain:
        """The chain in PEM.

        Raises HeaderMalformed if a value is not exactly what this format writes, HeaderTooLarge, and Missing for every
        spelling of no certificate.
        """
        leaf, *above = presented if isinstance(presented, tuple) else (presented,)
        if len(leaf) + sum(map(len, above)) > self._largest:
            raise HeaderTooLarge(f"more than {self._largest} bytes in {self._form.certificate}", _ALLOW_MORE)
        value = leaf.strip(_BLANK)
        if value in NO_CERTIFICATE:
            raise Missing(f"no certificate in {self._form.certificate}")
        try:
            chain = self._form.decode(value)
            for each in above:
                chain += () if each in NO_CERTIFICATE else CHAIN_DECODER(each)
        except ValueError as error:
            raise HeaderMalformed(f"{self._form.certificate}: {error}") from error
        return tuple(map(_write_pem, chain))

    def find_client(self, request: Request) -> Address | None:
        """The client's own address, as the trusted proxies tell it."""
        headers = request.headers
        layout = self._find_layout(headers)
        return self._peers.find_client(
            request, _pick_values(headers, layout.secrets), _pick(headers, layout.forwarding)
        )

    def hides(self, name: bytes) -> bool:
        """Whether a header of this name, or of an alias of it, belongs to any format or is the secret's."""
        return canonical(name) in self._own or is_certificate_header(name)

    def _require_proofs(self, layout: Layout, headers: Headers) -> None:
        """Raises Untrusted unless each header of the verdict says exactly the good word, but for blanks around it."""
        for (index, good), name in zip(layout.proofs, self._proofs, strict=True):
            said = None if index is None else headers[index][1].strip(_BLANK)
            if said != good:
                words = "is missing" if said is None else f"says {_quote(said)}, not {_quote(good)}"
                raise Untrusted(f"the proxy did not verify the certificate: {name.decode('ascii')} {words}")

    def _describe_missing(self, layout: Layout, headers: Headers) -> Missing:
        verdicts = [index is not None and headers[index][1] == good for index, good in layout.proofs]
        if verdicts and all(verdicts):
            said = ", ".join(f"{name.decode('ascii')}: {good.decode('ascii')}" for name, good in self._proofs.items())
            return Missing(f"no certificate in {self._form.certificate}, in spite of {said}", self._find_stray(headers))
        return Missing(f"no certificate in {self._form.certificate}", self._find_stray(headers))

    def _find_stray(self, headers: Headers) -> str:
        """A hint if another format's certificate is there: the proxy may write that one, or a client may have."""
        stray = next((name for name, _ in headers if name in CERTIFICATES and name not in self._own), None)
        if stray is None:
            return ""
        return f"there is {stray.decode('ascii')}, which this format does not read: is `format` the proxy's?"

    def _find_layout(self, headers: Headers) -> Layout:
        names = [name for name, _ in headers]
        layout = self._layouts.get(b"\n".join(names))
        # No header's name holds a line end; if one did, the same text could be another number of names.
        return layout if layout is not None and layout.length == len(names) else self._arrange(names)

    def _remember(self, layout: Layout) -> None:
        """Only for what a trusted proxy sent with a certificate that it vouches for."""
        if len(self._layouts) >= LAYOUTS:
            self._layouts.clear()
        glance = None
        if layout.certificate is not None and not layout.chain and not layout.secrets:
            glance = (layout.certificate, [(index, good) for index, good in layout.proofs if index is not None])
        key = b"\n".join(layout.names)
        # With a line end in a name, other names could be the same text, and as many.
        if key.count(b"\n") < layout.length:
            self._layouts[key] = layout._replace(names=(), glance=glance)

    def _arrange(self, names: Sequence[bytes]) -> Layout:
        at: dict[bytes, list[int]] = {}
        for index, name in enumerate(names):
            at.setdefault(name, []).append(index)
        hosts = at.get(b"host", ())
        return Layout(
            length=len(names),
            # RFC 9110 section 7.2 allows exactly one.
            host=hosts[0] if len(hosts) == 1 else None,
            certificate=_first(at.get(self._certificate)),
            proofs=tuple((_first(at.get(name)), good) for name, good in self._proofs.items()),
            hidden=[index for index, name in enumerate(names) if self.hides(name)][::-1],
            glance=None,
            chain=at.get(self._chain, ()) if self._chain else (),
            secrets=at.get(self._secret, ()) if self._secret else (),
            forwarding=[index for index, name in enumerate(names) if canonical(name) in FORWARDING],
            trouble=self._find_trouble(names),
            names=names,
        )

    def _find_trouble(self, names: Iterable[bytes]) -> str:
        """Why nobody can tell which of these headers the proxy wrote; empty if all is well.

        RFC 9440 section 2.1: a certificate's header must not repeat. An alias is what a client writes in the hope
        that the proxy lets it pass and a program behind takes it for the real one.
        """
        seen: set[bytes] = set()
        for name in names:
            plain = canonical(name)
            if plain not in self._own:
                continue
            if name != plain:
                return f"{name.decode('latin-1')[:64]!r} is an alias of {plain.decode('ascii')}"
            if name in self._single and name in seen:
                return f"{name.decode('ascii')} comes twice"
            seen.add(name)
        return ""


_BLANK = b" \t"
_TWO_GATES = (
    "another AccessMiddleware, or keyfob serve, stands in front of this one and has removed it: keep one of the two"
)
_ALLOW_MORE = "raise largest_certificate if your certificates are that long"


def _pick(headers: Headers, indices: Iterable[int]) -> Headers:
    return [headers[index] for index in indices]


def _pick_values(headers: Headers, indices: Iterable[int]) -> list[bytes]:
    return [headers[index][1].strip(_BLANK) for index in indices]


def _quote(value: bytes) -> str:
    return repr(value[:64].decode("latin-1"))


def _first(indices: Sequence[int] | None) -> int | None:
    return indices[0] if indices else None


def _write_pem(der: bytes) -> str:
    """RFC 7468: sixty-four characters a line."""
    text = b2a_base64(der, newline=False).decode("ascii")
    lines = "".join(f"{text[at : at + 64]}\n" for at in range(0, len(text), 64))
    return f"-----BEGIN CERTIFICATE-----\n{lines}-----END CERTIFICATE-----\n"
