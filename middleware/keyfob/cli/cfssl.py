"""`keyfob cfssl`: cfssl's own commands, flags and files."""

import base64
import os
from collections.abc import Mapping, Sequence
from datetime import timedelta

import click
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from keyfob.cli.goflags import GoCommand, call, read, read_named, write
from keyfob.cli.terminal import escape
from keyfob.errors import PKIError
from keyfob.pki.authority import Authority, Issued
from keyfob.pki.cfssl.answers import write_answer
from keyfob.pki.cfssl.documents import Place, write_document
from keyfob.pki.cfssl.hosts import Hosts, Warn, read_hosts
from keyfob.pki.cfssl.information import describe, describe_csr, read_certificate
from keyfob.pki.cfssl.lists import make_list, read_seconds, read_serials
from keyfob.pki.cfssl.profiles import Profile, make_default, read_config
from keyfob.pki.cfssl.requests import (
    Request,
    describe_certificate,
    make_csr,
    read_csr,
    read_request,
    read_subject_document,
    require_key,
    write_private_key,
)
from keyfob.pki.cfssl.signing import Order, sign, sign_itself, sign_root
from keyfob.pki.keys import PrivateKey, read_key

_REFUSED_COMMANDS: Mapping[str, str] = {
    "bundle": "`keyfob ca intermediate` writes a bundle",
    "crl": "`keyfob crl` writes the list of its inventory, and `gencrl` one of serial numbers",
    "info": "`certinfo` says what a certificate says",
    "ocspdump": "publish a list instead, with `keyfob crl`",
    "ocsprefresh": "publish a list instead, with `keyfob crl`",
    "ocspserve": "publish a list instead, with `keyfob crl`",
    "ocspsign": "publish a list instead, with `keyfob crl`",
    "print-defaults": "the README has a ca-csr.json and a ca-config.json",
    "revoke": "`keyfob revoke` does it for what `keyfob issue` has made, and `gencrl` for serial numbers",
    "scan": "testssl.sh looks at other people's servers",
    "serve": "`keyfob enrol` hands out certificates over the network",
    "version": "`keyfob --version` says it",
}
_WARNING = 2


class _Commands(click.Group):
    """cfssl's commands; those that are not spoken here are refused by name."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] in _REFUSED_COMMANDS:
            raise PKIError(f"cfssl's `{args[0]}` is not spoken here", _REFUSED_COMMANDS[args[0]])
        return super().resolve_command(ctx, args)


_level = click.option(
    "--loglevel",
    type=click.IntRange(0, 5),
    default=1,
    help="Above 2, no warnings are shown. Others make no difference.",
)
_config = click.option("--config", default="", help="Profiles: a ca-config.json.")
_profile = click.option("--profile", default="", help="Which of them.")
_hostname = click.option("--hostname", default="", help="Names instead of those in the request, with commas between.")
_ca = click.option("--ca", default="", help="The authority's certificate: FILE, or env:NAME.")
_ca_key = click.option("--ca-key", default="", help="Its key: FILE, or env:NAME.")
_crl = click.option("--crl", default="", help="Where its lists are, instead of the profile's crl_url.")
_request = click.argument("csrjson", metavar="CSRJSON")


@click.group("cfssl", cls=_Commands)
def cfssl_command() -> None:
    """Take cfssl's commands and JSON files.

    \b
      keyfob cfssl genkey -initca ca-csr.json | keyfob cfssljson -bare ca
      keyfob cfssl gencert -ca=ca.pem -ca-key=ca-key.pem -config=ca-config.json \\
        -profile=client client-csr.json | keyfob cfssljson -bare iphone-client

    Each prints one JSON object. What of a file cannot be obeyed is refused by name. What is made here stands in no
    inventory: `keyfob issue` keeps one.
    """


@cfssl_command.command("genkey", cls=GoCommand)
@click.option("--initca", is_flag=True, help="A new authority: its certificate as well.")
@_config
@_level
@_request
def genkey(csrjson: str, *, initca: bool, config: str, loglevel: int) -> None:
    """Make a key and a CSR, from a file of JSON or - for stdin."""
    warn = _prepare_warnings(loglevel)
    request = read_request(read(csrjson), call(csrjson), warn)
    if config:
        read_config(read(config), config, warn)
    _make_root(request, warn) if initca else _make_request(request)


def _make_root(request: Request, warn: Warn) -> None:
    key = request.generate()
    certificate, csr = sign_root(request, key, warn)
    _print(certificate, _write_csr(csr), write_private_key(key))


def _make_request(request: Request) -> None:
    _require_device(request)
    key = request.generate()
    _print(csr=_write_csr(make_csr(request, key)), key=write_private_key(key))


@cfssl_command.command("gencert", cls=GoCommand)
@click.option("--initca", is_flag=True, help="A new authority; with -ca-key, on that key.")
@click.option("--renewca", is_flag=True, help="The authority of -ca once more, from now on; needs no CSRJSON.")
@_ca
@_ca_key
@_config
@_profile
@_hostname
@click.option("--cn", default="", help="The common name, instead of the request's.")
@_crl
@_level
@click.argument("csrjson", metavar="CSRJSON", default="")
@click.pass_context
def gencert(ctx: click.Context, /, csrjson: str, *, initca: bool, renewca: bool, loglevel: int, **words: str) -> None:
    """Make a key, a CSR and a certificate by an authority."""
    warn = _prepare_warnings(loglevel)
    if renewca:
        _renew_root(ctx, csrjson, words, warn)
        return
    if not csrjson:
        raise click.MissingParameter(ctx=ctx, param_hint="CSRJSON", param_type="argument")
    request = read_request(read(csrjson), call(csrjson), warn)
    if words["cn"]:
        request = request._replace(subject=request.subject.rename(words["cn"]))
    hosts = _read_hostname(words["hostname"], warn)
    request = request if hosts is None else request._replace(hosts=hosts)
    if initca:
        for flag in ("ca", "config", "profile"):
            if words[flag]:
                warn(f"-{flag} is passed over: a new authority is as its request says")
        request = request._replace(crl_url=words["crl"] or request.crl_url)
        _remake_root(request, words["ca_key"], warn) if words["ca_key"] else _make_root(request, warn)
        return
    _require_device(request)
    profile, authority = _choose_profile(words, warn), _load_authority(ctx, words)
    key = request.generate()
    csr = make_csr(request, key)
    order = Order(csr, call(csrjson), request.hosts, None, words["crl"])
    _print(sign(order, authority, profile, warn), _write_csr(csr), write_private_key(key))


def _require_device(request: Request) -> None:
    if request.authority is not None:
        raise PKIError('a request with "ca" is for a new authority', "add -initca, or leave it out")
    if request.crl_url:
        raise PKIError('"crl_url" in a request is for a new authority', "write it into the profile, or give -crl")


def _remake_root(request: Request, key_file: str, warn: Warn) -> None:
    key = _load_key(read_named(key_file), key_file)
    certificate, csr = sign_root(request, key, warn)
    _print(certificate, _write_csr(csr))


def _renew_root(ctx: click.Context, csrjson: str, words: Mapping[str, str], warn: Warn) -> None:
    if csrjson or any(value for flag, value in words.items() if flag not in ("ca", "ca_key")):
        raise click.UsageError("-renewca takes -ca and -ca-key alone: the certificate says the rest", ctx)
    authority = _load_authority(ctx, words)
    request = describe_certificate(authority.certificate, words["ca"], warn)
    if request.authority is None:
        raise PKIError(f"{words['ca']} is no authority", "give an authority with -ca")
    certificate, _ = sign_root(request, authority.issued.key, warn)
    _print(certificate)


@cfssl_command.command("gencsr", cls=GoCommand)
@click.option("--key", default="", help="The key that is there already.")
@click.option("--cert", default="", help="A certificate that says what to ask for, instead of CSRJSON.")
@_hostname
@_level
@click.argument("csrjson", metavar="CSRJSON", default="")
@click.pass_context
def gencsr(ctx: click.Context, csrjson: str, *, key: str, cert: str, hostname: str, loglevel: int) -> None:
    """Make a CSR on a key that is there already."""
    warn = _prepare_warnings(loglevel)
    if not key:
        raise click.UsageError("-key is missing: the key that the CSR is for", ctx)
    if bool(cert) == bool(csrjson):
        raise click.UsageError("give either CSRJSON or -cert", ctx)
    if cert:
        request = describe_certificate(read_certificate(read_named(cert), cert), cert, warn)
    else:
        request = read_request(read(csrjson), call(csrjson), warn)
    if request.crl_url:
        raise PKIError('"crl_url" in a request is for a new authority', "leave it out: a CSR has no place for it")
    hosts = _read_hostname(hostname, warn)
    request = request if hosts is None else request._replace(hosts=hosts)
    pem = read_named(key)
    _print(csr=_write_csr(make_csr(request, _load_key(pem, key))), key=_decode(pem, key))


@cfssl_command.command("sign", cls=GoCommand)
@click.option("--csr", default="", help="The CSR, instead of the first file.")
@_ca
@_ca_key
@_config
@_profile
@_hostname
@_crl
@_level
@click.argument("files", metavar="CSR [SUBJECT]", nargs=-1)
@click.pass_context
def sign_command(ctx: click.Context, /, files: Sequence[str], *, csr: str, loglevel: int, **words: str) -> None:
    """Sign a CSR, from a PEM file or - for stdin. SUBJECT is JSON that says who it is instead of the CSR."""
    warn = _prepare_warnings(loglevel)
    name, *others = [csr, *files] if csr else [*files] or [""]
    if not name or len(others) > 1:
        raise click.UsageError("give one CSR, and at most one SUBJECT", ctx)
    pem = read(name)
    request = read_csr(pem, call(name))
    subject = read_subject_document(read_named(others[0]), others[0]) if others else None
    profile, authority = _choose_profile(words, warn), _load_authority(ctx, words)
    order = Order(request, call(name), _read_hostname(words["hostname"], warn), subject, words["crl"])
    _print(sign(order, authority, profile, warn), _decode(pem, call(name)))


@cfssl_command.command("selfsign", cls=GoCommand)
@_config
@_profile
@_hostname
@_level
@click.argument("files", metavar="HOSTNAME CSRJSON", nargs=-1)
@click.pass_context
def selfsign(
    ctx: click.Context, files: Sequence[str], *, config: str, profile: str, hostname: str, loglevel: int
) -> None:
    """Make a key and a certificate that it signs itself: for tests, since nobody vouches for it."""
    warn = _prepare_warnings(loglevel)
    hostname, *others = [hostname, *files] if hostname else [*files] or [""]
    if not hostname or len(others) != 1:
        raise click.UsageError("give HOSTNAME and CSRJSON", ctx)
    name = others[0]
    request = read_request(read(name), call(name), warn)
    _require_device(request)
    chosen = _choose_profile({"config": config, "profile": profile}, warn, make_default(_SELF_SIGNED))
    key = request.generate()
    csr = make_csr(request, key)
    order = Order(csr, call(name), _add(_read_hostname(hostname, warn), request.hosts))
    warn("nobody vouches for a certificate that signs itself: keep it to tests")
    _print(sign_itself(order, key, chosen, warn), _write_csr(csr), write_private_key(key))


_SELF_SIGNED = timedelta(hours=2190)


def _add(hosts: Hosts | None, others: Hosts) -> Hosts:
    """Both, each name once."""
    first = hosts or Hosts()
    return Hosts(
        tuple(dict.fromkeys(first.dns + others.dns)),
        tuple(dict.fromkeys(first.emails + others.emails)),
        tuple(dict.fromkeys(first.addresses + others.addresses)),
        tuple(dict.fromkeys(first.uris + others.uris)),
    )


@cfssl_command.command("certinfo", cls=GoCommand)
@click.option("--cert", default="", help="A certificate: FILE, or - for stdin.")
@click.option("--csr", default="", help="A CSR: FILE, or - for stdin.")
@_level
@click.pass_context
def certinfo(ctx: click.Context, *, cert: str, csr: str, loglevel: int) -> None:
    """Say what a certificate or a CSR says, in JSON."""
    _prepare_warnings(loglevel)
    if bool(cert) == bool(csr):
        raise click.UsageError("give either -cert or -csr", ctx)
    said = describe(read(cert), call(cert)) if cert else describe_csr(read(csr), call(csr))
    write(write_document(said, indent=2))


@cfssl_command.command("gencrl", cls=GoCommand)
@_level
@click.argument("serials", metavar="INPUTFILE")
@click.argument("cert", metavar="CERT")
@click.argument("key", metavar="KEY")
@click.argument("seconds", metavar="[TIME]", default="0")
@click.pass_context
def gencrl(ctx: click.Context, serials: str, cert: str, key: str, seconds: str, *, loglevel: int) -> None:
    """Sign a list of revoked certificates: of the serial numbers in INPUTFILE, one a line.

    It is printed as DER in base64, and good for TIME seconds, a week if that is left out. For a key that is
    encrypted, CFSSL_CA_PK_PASSWORD says the passphrase, here as elsewhere.
    """
    _prepare_warnings(loglevel)
    if [serials, cert, key].count("-") > 1:
        raise click.UsageError("only one of the files can be stdin", ctx)
    numbers = list(read_serials(_decode(read(serials), call(serials)), call(serials)))
    certificate = read_certificate(read(cert), call(cert))
    authority = _pair(certificate, cert, read_key(read(key), call(key), _find_passphrase), key)
    made = make_list(numbers, authority, read_seconds(seconds))
    write(base64.b64encode(made.public_bytes(Encoding.DER)).decode("ascii"))


def _prepare_warnings(loglevel: int) -> Warn:
    def warn(text: str) -> None:
        if loglevel <= _WARNING:
            click.echo(f"warning: {escape(text)}", err=True)

    return warn


def _choose_profile(words: Mapping[str, str], warn: Warn, default: Profile | None = None) -> Profile:
    file, name = words["config"], words["profile"]
    if file:
        return read_config(read(file), call(file), warn).select(name, warn)
    if name:
        raise PKIError(
            f"there is no profile {name[:80]!r} without a file of them", "name a ca-config.json with -config"
        )
    return default or make_default()


def _read_hostname(text: str, warn: Warn) -> Hosts | None:
    return read_hosts(text.split(","), Place("-hostname"), warn) if text else None


def _load_authority(ctx: click.Context, words: Mapping[str, str]) -> Authority:
    for flag in ("ca", "ca_key"):
        if not words[flag]:
            raise click.UsageError(f"-{flag.replace('_', '-')} is missing: whose certificate shall it be?", ctx)
    certificate = read_certificate(read_named(words["ca"]), words["ca"])
    return _pair(certificate, words["ca"], _load_key(read_named(words["ca_key"]), words["ca_key"]), words["ca_key"])


def _pair(certificate: x509.Certificate, name: str, key: PrivateKey, key_name: str) -> Authority:
    if certificate.public_key() != key.public_key():
        raise PKIError(f"{name} and {key_name} do not belong together", "put the pair back together")
    return Authority(Issued(certificate, key))


def _load_key(pem: bytes, name: str) -> PrivateKey:
    key = read_key(pem, name, _find_passphrase)
    require_key(key.public_key(), name)
    return key


def _find_passphrase() -> str:
    said = os.environ.get("CFSSL_CA_PK_PASSWORD") or os.environ.get("KEYFOB_PASSPHRASE")
    if not said:
        raise PKIError("the key is encrypted, and nobody said its passphrase", "set CFSSL_CA_PK_PASSWORD")
    return said


def _decode(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise PKIError(f"{name} is no text", "write it in UTF-8") from error


def _write_csr(csr: x509.CertificateSigningRequest) -> str:
    return csr.public_bytes(Encoding.PEM).decode("ascii")


def _print(certificate: x509.Certificate | None = None, csr: str = "", key: str = "") -> None:
    pem = certificate.public_bytes(Encoding.PEM).decode("ascii") if certificate else ""
    write(write_answer(pem, csr, key))
