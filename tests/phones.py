"""A device as a person has one: Chromium with a profile of its own, whose NSS database trusts the CA and has the key.

Playwright can show a certificate itself, through a proxy; but a service worker wants a server that the browser trusts.
"""

import contextlib
import csv
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, load_pem_private_key
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates
from cryptography.x509 import load_pem_x509_certificate
from playwright.sync_api import BrowserContext, Page, Playwright, expect

from browser import FLAGS
from certificates import DAY, Pair, make_leaf
from keyfob.pki.home import open_home
from nss import Database
from servers import Running, environment, find_port, find_program, keyfob, make_client, running, wait_for_handshake

PATIENCE = 30_000
WIDTH = 375


class Site:
    """The budget app as `keyfob serve --home` runs it, at one address, with a CSV file for the workbook."""

    def __init__(self, folder: Path) -> None:
        """The folder's keys are made; nothing runs until `start`."""
        self.home = open_home(folder / "home", ["localhost"])
        (self.home.folder / "budget.toml").write_text('[workbook]\nkind = "csv"\n', encoding="utf-8")
        self._port = find_port()
        self.url = f"https://localhost:{self._port}"
        self._folder = folder
        self._stack = contextlib.ExitStack()
        self.server: Running | None = None

    def start(self) -> None:
        command = keyfob(
            "serve", "budget_app.app:app", "--home", self.home.folder, "--no-enrolment", "--port", str(self._port)
        )
        self.server = self._stack.enter_context(running(command, self._port, self._folder, environment()))
        wait_for_handshake(self._port)

    def stop(self) -> None:
        self._stack.close()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """The server takes connections and requests, and says nothing."""
        assert self.server is not None
        os.kill(self.server.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.server.pid, signal.SIGCONT)

    def sign(self, name: str, *, begins: timedelta, ends: timedelta) -> Pair:
        """A device's certificate with a lifetime that `keyfob issue` would not give it."""
        key = load_pem_private_key(self.home.authority_key.read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        issuer = Pair(load_pem_x509_certificate(self.home.authority.read_bytes()), key)
        return make_leaf(issuer, name, begins=begins, ends=ends)

    def run(self, *words: str | Path) -> str:
        """What a command of keyfob about this home says."""
        command = [*keyfob(*words), "--home", str(self.home.folder)]
        return subprocess.run(command, env=environment(), check=True, capture_output=True, text=True).stderr

    @contextlib.contextmanager
    def program(self, device: str) -> Iterator[httpx.Client]:
        """A program that has the key of a device and asks for JSON."""
        files = self.home.folder / "devices"
        context = make_client(self.home.authority, files / f"{device}.pem", files / f"{device}-key.pem")
        with httpx.Client(base_url=self.url, verify=context, headers={"Accept": "application/json"}) as client:
            yield client

    def rows(self) -> list[dict[str, str]]:
        """What the workbook has by now."""
        path = self.home.folder / "budget.csv"
        if not path.exists():
            return []
        with path.open(encoding="utf-8-sig", newline="") as file:
            return list(csv.DictReader(file))

    def find(self, note: str) -> list[tuple[str, str]]:
        """Amount and category of the rows with this note."""
        return [(row["Amount"], row["Category"]) for row in self.rows() if row["Note"] == note]


def make_identity(site: Site, name: str, folder: Path) -> tuple[Path, str]:
    """A new device's key as its person gets it: a PKCS#12 file and the password."""
    file = folder / f"{name}.p12"
    site.run("issue", name)
    return file, site.run("export", name, "--out", file).split("password", 1)[1].split()[0]


def make_expired_identity(site: Site, name: str, folder: Path) -> tuple[Path, str]:
    """The same, whose last day was yesterday."""
    old = site.sign(name, begins=-9 * DAY, ends=-DAY)
    assert isinstance(old.key, ec.EllipticCurvePrivateKey)
    file = folder / f"{name}.p12"
    password = BestAvailableEncryption(b"last-year")
    file.write_bytes(serialize_key_and_certificates(name.encode(), old.key, old.certificate, None, password))
    return file, "last-year"


@contextlib.contextmanager
def phone(playwright: Playwright, site: Site, identity: tuple[Path, str], folder: Path) -> Iterator[BrowserContext]:
    """A device that has imported this key, and shows it to the site without asking anybody."""
    path = find_program("chromium", "chromium")
    database = Database(folder / ".pki" / "nssdb")
    database.trust(site.home.authority)
    database.import_identity(*identity).check_returncode()
    profile = folder / "profile" / "Default"
    profile.mkdir(parents=True)
    chosen: dict[str, object] = {f"{site.url},*": {"setting": {"filters": [{}]}}}
    settings = {"profile": {"content_settings": {"exceptions": {"auto_select_certificate": chosen}}}}
    (profile / "Preferences").write_text(json.dumps(settings), encoding="utf-8")
    context = playwright.chromium.launch_persistent_context(
        profile.parent,
        executable_path=path,
        args=FLAGS,
        env={**os.environ, "HOME": str(folder)},
        viewport={"width": WIDTH, "height": 812},
        locale="en-GB",
    )
    context.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    try:
        yield context
    finally:
        context.close()


def open_budget(context: BrowserContext, url: str) -> Page:
    """The page, once everything is there that it needs without reception."""
    page = context.new_page()
    page.goto(url)
    wait_for_worker(page)
    return page


_READY = """
Promise.race([
  navigator.serviceWorker.ready.then(() => true),
  new Promise((resolve) => setTimeout(() => resolve(false), 10000)),
])
"""


def wait_for_worker(page: Page) -> None:
    """Until the service worker is there. A browser that could not install it tries again at the next load."""
    for _ in range(4):
        if page.evaluate(_READY):
            return
        page.reload()
    raise TimeoutError("no service worker came")


def forget(context: BrowserContext, site: Site) -> None:
    """The device as it was before it first saw the site."""
    for page in context.pages[1:]:
        page.close()
    context.set_offline(False)
    session = context.new_cdp_session(context.pages[0])
    session.send("Storage.clearDataForOrigin", {"origin": site.url, "storageTypes": "all"})
    session.detach()


def type_expense(page: Page, amount: str, note: str, category: str = "Coffee", then: str = "Add") -> None:
    page.fill("#amount", amount)
    page.locator("#categories label", has_text=category).click()
    page.fill("#note", note)
    page.get_by_role("button", name=then, exact=True).click()
