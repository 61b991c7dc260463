"""The root certificates of a document: which host believes whom, and what has been withdrawn."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from keyfob.config.document import RootCertificateTable
from keyfob.config.files import Files
from keyfob.errors import PKIError, Problem
from keyfob.policy.domains import covers
from keyfob.trust import Roots, Verifier, read_roots
from keyfob.trust.crl import RevocationList, read_crls
from keyfob.trust.ocsp import ResponseBook, UnusableResponder, read_responder
from keyfob.trust.revocation import Revocation, Stale
from keyfob.trust.roots import UnusableRoots, join_roots
from keyfob.trust.serials import OwnList, UnusableList, read_own_list
from keyfob.trust.withdrawals import Withdrawals


class Trustee(NamedTuple):
    """One root certificate entry: the hosts that it is for, its certificates, and what it says about withdrawal."""

    name: str
    hosts: tuple[str, ...]
    roots: Roots
    lists: tuple[RevocationList, ...]
    revocation: Revocation | None
    books: Mapping[str, ResponseBook]
    withdrawals: Mapping[str, Withdrawals] = MappingProxyType({})


class Trusted:
    """Every entry, and what follows for a host."""

    def __init__(self, trustees: Sequence[Trustee]) -> None:
        self.trustees = tuple(trustees)
        self.roots = join_roots(each.roots for each in trustees)
        self._verifiers: dict[tuple[int, ...], Verifier] = {}
        # There can be thousands of hosts on both sides: only wildcards are compared one by one.
        self._exact: dict[str, set[int]] = {}
        self._wild: list[tuple[str, int]] = []
        for index, trustee in enumerate(trustees):
            for pattern in trustee.hosts:
                if "*" in pattern:
                    self._wild.append((pattern, index))
                else:
                    self._exact.setdefault(pattern, set()).add(index)

    @property
    def fingerprints(self) -> dict[str, frozenset[bytes]]:
        """The roots of each entry by its name, as SHA-256 fingerprints."""
        found: dict[str, set[bytes]] = {}
        for trustee in self.trustees:
            prints = {anchor.fingerprint(hashes.SHA256()) for anchor in trustee.roots.anchors}
            found.setdefault(trustee.name, set()).update(prints)
        return {name: frozenset(prints) for name, prints in found.items()}

    @property
    def books(self) -> dict[str, ResponseBook]:
        """What the responders have said, by their URLs."""
        return {url: book for trustee in self.trustees for url, book in trustee.books.items()}

    @property
    def withdrawals(self) -> dict[str, Withdrawals]:
        """What inventories have withdrawn, by the places where these are. A place may have a password in it."""
        return {where: book for trustee in self.trustees for where, book in trustee.withdrawals.items()}

    def find_troubles(self, at: float) -> list[str]:
        """Why devices are refused, or withdrawals not seen, at `at`, although every file is as it should be."""
        lapsed = [
            f"{each.name} has lapsed, so nobody can tell whom it would withdraw"
            for trustee in self.trustees
            for each in trustee.lists
            if each.next_update is None or each.next_update < at
        ]
        silent = [f"{url}: {book.trouble}" for url, book in self.books.items() if book.trouble]
        return lapsed + silent + [said for book in self.withdrawals.values() if (said := book.find_trouble())]

    def at_host(self, host: str) -> Verifier:
        """The verifier for a host. Hosts that believe the same entries share one."""
        chosen = self._choose(host)
        if chosen not in self._verifiers:
            self._verifiers[chosen] = _make_verifier([self.trustees[index] for index in chosen])
        return self._verifiers[chosen]

    def knows(self, pattern: str) -> bool:
        """Whether any entry is for a host that `pattern` stands for."""
        return bool(self._choose(pattern)) or ("*" in pattern and any(covers(pattern, mine) for mine in self._hosts()))

    def _hosts(self) -> Iterator[str]:
        return (host for each in self.trustees for host in each.hosts)

    def _choose(self, host: str) -> tuple[int, ...]:
        """The entries for a host, or for all that a pattern stands for, in their order."""
        wild = {index for pattern, index in self._wild if covers(pattern, host)}
        return tuple(sorted(self._exact.get(host, set()) | wild))


def _make_verifier(trustees: Sequence[Trustee]) -> Verifier:
    revocations: dict[bytes, list[Revocation]] = {}
    for trustee in trustees:
        for anchor in trustee.roots.anchors:
            if trustee.revocation is not None:
                revocations.setdefault(anchor.public_bytes(Encoding.DER), []).append(trustee.revocation)
    return Verifier(join_roots(each.roots for each in trustees), revocations)


def read_trusted(
    tables: Sequence[RootCertificateTable], folder: Path, files: Files, problems: list[Problem]
) -> Trusted:
    """The root certificates that the tables describe; what is wrong with them is in `problems`."""
    trustees = [
        _read_trustee(table, f"root_certificates[{index}]", folder, files, problems)
        for index, table in enumerate(tables)
    ]
    seen: set[str] = set()
    for index, table in enumerate(tables):
        if table.name in seen:
            place = f"root_certificates[{index}].name"
            problems.append(Problem(place, f"{table.name!r} is the name of another one", "give each a name of its own"))
        seen.add(table.name)
    return Trusted(trustees)


def _read_trustee(
    table: RootCertificateTable, place: str, folder: Path, files: Files, problems: list[Problem]
) -> Trustee:
    roots = read_roots_at(folder / table.certificate, f"{place}.certificate", files, problems)
    problems.extend(_find_strays(table, place))
    lists: list[RevocationList] = []
    own: OwnList | None = None
    with _noting(f"{place}.crl", problems):
        for name in table.crl:
            newest: dict[Hashable, float] = files.keep(("newest", folder / name), dict)
            lists.extend(files.parse(folder / name, ("crl", roots), partial(_read_newer_crls, roots, newest)))
    if table.revoked is not None:
        with _noting(f"{place}.revoked", problems):
            own = files.parse(folder / table.revoked, ("revoked", roots), partial(_read_own_list, roots))
    if table.ocsp is not None:
        with _noting(f"{place}.ocsp", problems):
            read_responder(table.ocsp)
    book = files.keep(("ocsp", table.ocsp), ResponseBook) if table.ocsp else None
    withdrawals: dict[str, Withdrawals] = {}
    if table.inventory is not None:
        with _noting(f"{place}.inventory", problems):
            withdrawals = _read_inventory(table.inventory, folder, files)
    # Not whether they are empty: an empty list withdraws nobody, and is one all the same.
    asked = bool(table.crl) or own is not None or book is not None or bool(withdrawals)
    revocation = (
        None
        if not asked
        else Revocation(
            lists,
            expired=Stale(table.crl_expired or Stale.REFUSE),
            revoked=own,
            responses=book,
            unavailable=Stale(table.ocsp_unavailable or Stale.REFUSE),
            inventory=next(iter(withdrawals.values()), None),
            unreachable=Stale(table.inventory_unavailable or Stale.REFUSE),
        )
    )
    books = {table.ocsp: book} if table.ocsp and book else {}
    return Trustee(table.name, tuple(table.associated_hostnames), roots, tuple(lists), revocation, books, withdrawals)


def _read_inventory(written: str, folder: Path, files: Files) -> dict[str, Withdrawals]:
    """The book of an inventory by its place; it is read once, and kept from then on. Raises PKIError.

    Also where it may be unavailable later: until it was read once, nobody can tell even who was withdrawn last year.
    """
    where = written if "://" in written else str(files.locate(folder / written))
    try:
        from keyfob.config.inventories import read_book  # noqa: PLC0415 - the middleware alone needs no database

        return {where: files.keep(("inventory", where), partial(read_book, where))}
    except ModuleNotFoundError as error:
        raise PKIError(f"an inventory needs the package {error.name}", "pip install 'keyfob[inventory]'") from error
    except PKIError:
        # No stamp changes when the database comes back.
        files.hindered = True
        raise


# Everything that a list can be refused for is raised while it is parsed: then what it said before goes on counting, and
# what other lists withdraw meanwhile does, too.


def _read_newer_crls(roots: Roots, newest: dict[Hashable, float], path: Path) -> tuple[RevocationList, ...]:
    found = read_crls(path, roots)
    _require_no_older(found, newest)
    return found


def _read_own_list(roots: Roots, path: Path) -> OwnList:
    own = read_own_list(path)
    for anchor in roots.anchors:
        if own.withdraws(anchor):
            message = f"{own.name} withdraws the root {anchor.subject.rfc4514_string()}, which nobody can withdraw"
            raise UnusableList(message, "take the root out instead")
    return own


def _require_no_older(found: Sequence[RevocationList], newest: dict[Hashable, float]) -> None:
    """A list that was valid once can be played back by whoever it is fetched through. Raises UnusableList."""
    latest: dict[Hashable, RevocationList] = {}
    for each in found:
        key = each.signer, each.scope.key
        latest[key] = max(latest.get(key, each), each, key=lambda each: each.this_update)
    for about, each in latest.items():
        if each.this_update < newest.get(about, each.this_update):
            raise UnusableList(f"{each.name} is older than the list that is in force", "start anew if that is meant")
        newest[about] = each.this_update


def _find_strays(table: RootCertificateTable, place: str) -> Iterator[Problem]:
    """Words that say how, without the word that says what."""
    if table.crl_expired is not None and not table.crl:
        yield Problem(f"{place}.crl_expired", "goes with crl alone", "name a list in crl, or leave this out")
    if table.ocsp_unavailable is not None and table.ocsp is None:
        yield Problem(
            f"{place}.ocsp_unavailable", "goes with ocsp alone", "name a responder in ocsp, or leave this out"
        )
    if table.inventory_unavailable is not None and table.inventory is None:
        hint = "name an inventory in inventory, or leave this out"
        yield Problem(f"{place}.inventory_unavailable", "goes with inventory alone", hint)


@contextmanager
def _noting(place: str, problems: list[Problem]) -> Iterator[None]:
    try:
        yield
    except (UnusableList, UnusableResponder, PKIError) as error:
        problems.append(Problem(place, error.message, error.hint))
    except (OSError, ValueError) as error:  # A path with a NUL in it is a ValueError.
        said = f"{error.filename} cannot be read: {error.strerror}" if isinstance(error, OSError) else str(error)
        problems.append(Problem(place, said, "name a file that is there"))


def read_roots_at(path: Path, place: str, files: Files, problems: list[Problem]) -> Roots:
    """The roots in a PEM file; none, and the reason in `problems`, where it cannot be used."""
    try:
        return read_roots(files.read(path))
    except UnusableRoots as error:
        problems.append(Problem(place, f"{path}: {error.message}", error.hint))
    except (OSError, ValueError) as error:  # A path with a NUL in it is a ValueError.
        said = getattr(error, "strerror", None) or str(error)
        problems.append(Problem(place, f"{path!s} cannot be read: {said}", "name the CA's PEM file"))
    return Roots((), ())
