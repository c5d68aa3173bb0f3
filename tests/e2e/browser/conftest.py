"""The page in a real browser: Chromium against `python app.py` on folders of its own.

The `page` of a test fails it at its end when anything went wrong that a person would not see: an error in the console,
an exception of a script, a request that failed or was refused, a dialog, a request to anywhere but this machine.

The browser is the system's (Debian's `chromium`), never one that playwright brings. Without one the tests are skipped
with the reason; where ONEGRPO_BROWSER=required (CI) they fail. A browser a file: playwright's event loop counts as
running while it is open, which no `asyncio.run` of a test in another file would bear.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from tests import warm as warming
from tests.records import log_lines
from tests.ui.conftest import PROJECT, Server, end_server, start_server
from trainer import launch
from trainer.run.rundir import RunDir, list_runs
from trainer.tryit import parent

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WIDE, NARROW = (1280, 900), (390, 844)
TABS = ("train", "live", "groups", "health", "runs", "try")  # as ?tab= has them
# Milliseconds a test waits for something to be seen: generous, for two cores that train meanwhile.
PATIENCE_MS = 30_000
# What Gradio's client says when a page is left or reloaded: while it listens for an answer, and while it asks for one
# (a tick that is under way). Chromium tells the same requests as net::ERR_ABORTED. One that fails for any other reason
# is told by `_failed` as well, or by the browser's own line, so that nothing is lost here.
LEFT = ("AbortError: signal is aborted without reason", "Unexpected error Connection errored out.")
# All that it says where the server has forgotten a page, with whose answers a stream that was left was cancelled. The
# page then loads itself again (test_lost_answer.py).
FORGOTTEN = "Unexpected error 404: Not Found"
# A real run that is short enough to watch.
SHORT = ("optim.max_steps=6", "eval.max_rows=16", "checkpoint.save_steps=2", "log.heartbeat_s=0.5")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        why = f"there is no browser on this machine ({', '.join(BROWSERS)}): apt install chromium"
        if os.environ.get("ONEGRPO_BROWSER") == "required":
            pytest.fail(why)
        pytest.skip(why)
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE_MS)
    # Nothing but this machine can be reached, whatever a page asks for: names lead nowhere.
    flags = ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--disable-gpu", "--no-proxy-server"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        flags.append("--no-sandbox")  # Chromium's own sandbox does not start as root
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=found, args=flags)
        yield opened
        opened.close()


@dataclass
class Site:
    """A page server and the folder it works in: outputs/, state/, server.log."""

    folder: Path
    server: Server
    environment: dict[str, str]
    pages: Path | None = None

    @property
    def outputs(self) -> Path:
        return self.server.outputs

    @property
    def log(self) -> str:
        return (self.folder / "server.log").read_text("utf-8")

    def run(self, name: str) -> RunDir:
        return RunDir.open(self.outputs, name)

    def address(self, **query: str) -> str:
        return f"http://127.0.0.1:{self.server.port}/?{urlencode(query)}"

    def restart(self) -> None:
        """A new server on the same folders, on another port, when the old one is gone."""
        self.server = start_server(self.folder, self.pages, **self.environment)

    def headless(self, name: str, *changes: str, preset: str = "tiny") -> subprocess.Popen[bytes]:
        """`python app.py --headless` on the folders of this site; ended with it."""
        sets = [flag for change in (*SHORT, *changes) for flag in ("--set", change)]
        state = str(self.folder / "state")
        env = os.environ | {"ONEGRPO_OUTPUTS": str(self.outputs), "ONEGRPO_STATE": state} | self.environment
        command = warming.app(env, "--headless", "--preset", preset, "--name", name, *sets)
        with (self.folder / f"{name}.log").open("wb") as log:
            return subprocess.Popen(
                command, cwd=PROJECT, env=env, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )


def make_site(folder: Path, warm_process: Path, pages: Path | None) -> Iterator[Site]:
    """Server and workers are forked from processes that hold the libraries; workers left at the end are ended."""
    (folder / "outputs").mkdir()
    environment = {warming.SOCKET: str(warm_process)}
    site = Site(folder, start_server(folder, pages, **environment), environment, pages)
    try:
        yield site
    finally:
        for run in list_runs(site.outputs):
            if launch.status_of(run) in ("starting", "running", "stopping"):
                launch.kill(run)
            parent.end(run)  # who answers on Try it: asked at first, then killed
            parent.end(run)
        end_server(site.server)
    assert "Traceback" not in site.log, site.log


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, warm_process: Path, pages: Path | None) -> Iterator[Site]:
    """One server for the tests of a file."""
    yield from make_site(tmp_path_factory.mktemp("site"), warm_process, pages)


@pytest.fixture
def own_site(tmp_path: Path, warm_process: Path, pages: Path | None) -> Iterator[Site]:
    """A server for one test alone: one that is killed, or whose runs others must not see."""
    folder = tmp_path / "site"
    folder.mkdir()
    yield from make_site(folder, warm_process, pages)


@dataclass
class Watch:
    """What went wrong behind the pages of one test."""

    problems: list[str] = field(default_factory=list)
    # Ports that belong to the test; anything else on this machine is as foreign as another host.
    ports: set[int] = field(default_factory=set)
    # Addresses of files that the test opens itself.
    files: set[str] = field(default_factory=set)
    # Set while the server is gone on purpose: then requests have to fail.
    server_is_gone: bool = False

    def follow(self, page: Any) -> None:
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.problems.append(f"script: {error}"))
        page.on("request", self._request)
        page.on("requestfailed", self._failed)
        page.on("dialog", self._dialog)

    def _console(self, message: Any) -> None:
        harmless = message.text.startswith(LEFT) or message.text == FORGOTTEN
        if message.type == "error" and not harmless and not self.server_is_gone:
            self.problems.append(f"console: {message.text} ({message.location.get('url', '')})")

    def _dialog(self, dialog: Any) -> None:
        self.problems.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _request(self, request: Any) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in ("data", "blob") or request.url in self.files:
            return
        if parts.hostname != "127.0.0.1" or parts.port not in self.ports:
            self.problems.append(f"request to {request.url}")

    def _failed(self, request: Any) -> None:
        # A page that is left or reloaded drops the answers it was still waiting for.
        if request.failure != "net::ERR_ABORTED" and not self.server_is_gone:
            self.problems.append(f"failed: {request.url}: {request.failure}")


@pytest.fixture
def watch() -> Iterator[Watch]:
    seen = Watch()
    yield seen
    assert seen.problems == []


@pytest.fixture
def new_page(browser: Any, watch: Watch) -> Iterator[Callable[..., Any]]:
    """new_page(site, tab="live", lang="ko"): a browser of its own with the page open. size, scheme: of its screen."""
    contexts = []

    def open_page(at: Site, *, size: tuple[int, int] = WIDE, scheme: str = "light", **query: str) -> Any:
        watch.ports.add(at.server.port)
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, locale="en-US", accept_downloads=True
        )
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()
        watch.follow(page)
        visit(page, at, **query)
        return page

    yield open_page
    for context in contexts:
        context.close()


def visit(page: Any, at: Site, **query: str) -> None:
    """Go to the page with this in its address; returns when the page has told its first news."""
    page.goto(at.address(**query))
    page.wait_for_function("window.pageOpened === true")


def tab_names(page: Any) -> list[str]:
    """Titles of all tabs, from the left."""
    return [title.strip() for title in page.get_by_role("tab").all_inner_texts()]


def open_tab(page: Any, name: str) -> None:
    tab = page.get_by_role("tab", name=name, exact=True)
    tab.click()
    page.wait_for_function("tab => tab.getAttribute('aria-selected') === 'true'", arg=tab.element_handle())


def turn(page: Any, tab: str) -> None:
    """To that tab as a link inside of the page does it."""
    field = page.locator("#here textarea, #here input")
    field.evaluate(
        "(field, tab) => { field.value = tab; field.dispatchEvent(new Event('input', {bubbles: true})); }", tab
    )


def setting(page: Any, key: str) -> Any:
    return page.locator(f'[data-key="{key}"]')


def set_field(page: Any, key: str, value: str) -> None:
    """Unfold what it lies in, as a person would, and type."""
    control = setting(page, key)
    folds = control.locator("xpath=ancestor::details[not(@open)]")
    for _ in range(folds.count()):
        folds.first.locator("> summary").click()
    control.fill(value)


def start_button(page: Any) -> Any:
    return page.locator("[data-start]")


def live_button(page: Any, name: str) -> Any:
    return page.locator(f"#live-{name}")


def state_of(page: Any) -> Any:
    return page.locator(".prose.g-state")


def start(page: Any, name: str, changes: dict[str, Any]) -> None:
    """Fill the form of Train, press Start, and see the page turn to the run."""
    from playwright.sync_api import expect

    expect(start_button(page)).to_be_enabled()
    for key, value in changes.items():
        set_field(page, key, str(value))
    page.locator("[data-name]").fill(name)
    command = page.locator('[data-slot="command"]')
    for part in (*(f"--set {key}={value}" for key, value in changes.items()), f"--name {name}"):
        expect(command).to_contain_text(part)
    start_button(page).click()
    expect(page.get_by_role("tab", name="Live")).to_have_attribute("aria-selected", "true")
    expect(state_of(page)).to_contain_text(name)


WAIT_S = 180.0


def steps(run: RunDir) -> list[int]:
    return [event["step"] for event in log_lines(run.events, "step")]


def wait_for(condition: Callable[[], bool], seconds: float = WAIT_S) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.2)
    raise AssertionError(f"it did not happen within {seconds:.0f} s")


def settle(page: Any) -> None:
    """The page has asked twice more, and was answered in between: what a tab shows is there.

    A tick is only asked for when the one before was answered, and the server answers in order.
    """
    page.wait_for_timeout(200)  # a tab that was opened asks at once
    for _ in range(2):
        with page.expect_response(lambda response: "/queue/join" in response.url):
            pass
    page.wait_for_timeout(300)


def unfold(page: Any) -> None:
    """Open what is folded and pass over everything: some things happen only then."""
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    for x in range(50, 1200, 230):
        page.mouse.move(x, 400)
    page.keyboard.press("Tab")
