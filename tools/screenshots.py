"""Take the pictures of the page that README and docs/page.md show, from real runs in a real browser.

.venv/bin/python tools/screenshots.py                          docs/page/{train,live,groups,runs}.png
.venv/bin/python tools/screenshots.py --all FOLDER             and FOLDER: also narrow, Korean, dark, without runs

--run names the run that is shown (default: the newest that finished); --outputs the folder it lies in. The server is
this script's own, on a free port, and only looks: nothing is started or deleted.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parent.parent))

from trainer import launch
from trainer.machine.project import PROJECT
from trainer.run.rundir import RunDir, list_runs, outputs_dir

PICTURES = ("train", "live", "groups", "runs")
EVERY_TAB = ("train", "live", "groups", "health", "runs", "try")
WIDE, NARROW = (1280, 900), (390, 844)
PICTURE = (1280, 1000)
BELOW = 24  # pixels left below what ends earlier
TICKS_MS = 5000  # three ticks of the page: charts, tables and fonts are there
UP_S = 60


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--outputs", type=Path, default=outputs_dir())
    parser.add_argument("--run")
    parser.add_argument("--all", type=Path, metavar="FOLDER")
    given = parser.parse_args()
    run = given.run or newest_finished(given.outputs)
    with serving(given.outputs) as port, browsing() as browser:
        for tab in PICTURES:
            step = middle(given.outputs, run) if tab == "groups" else ""
            take(browser, port, PROJECT / "docs" / "page" / f"{tab}.png", PICTURE, tab=tab, run=run, step=step)
        if given.all:
            everything(browser, port, given.all, run)
    if given.all:
        with tempfile.TemporaryDirectory() as empty, serving(Path(empty)) as port, browsing() as browser:
            everything(browser, port, given.all / "empty", "")
    return 0


def newest_finished(outputs: Path) -> str:
    found = next((run.name for run in list_runs(outputs) if launch.status_of(run) == "finished"), None)
    if found is None:
        sys.exit(f"no finished run in {outputs}: make train")
    return found


def middle(outputs: Path, run: str) -> str:
    """A step in the middle of the run with rollouts: some groups have spread there, some do not any more."""
    files = sorted(RunDir.open(outputs, run).rollouts.glob("step_*.jsonl"))
    return str(int(files[len(files) // 2].stem.removeprefix("step_"))) if files else ""


def everything(browser: Any, port: int, folder: Path, run: str) -> None:
    for tab in EVERY_TAB:
        for size in (WIDE, NARROW):
            for language in ("en", "ko"):
                for scheme in ("light", "dark"):
                    file = folder / f"{tab}-{size[0]}-{language}-{scheme}.png"
                    take(browser, port, file, size, language, scheme, whole=True, tab=tab, run=run)


def take(
    browser: Any,
    port: int,
    file: Path,
    size: tuple[int, int] = WIDE,
    language: str = "en",
    scheme: str = "light",
    whole: bool = False,
    **query: str,
) -> None:
    """What a screen of this size shows first, one pixel a pixel; whole: the page as high as it is."""
    screen = {"width": size[0], "height": size[1]}
    context = browser.new_context(viewport=screen, color_scheme=scheme, locale=language, device_scale_factor=1)
    page = context.new_page()
    asked = "&".join(f"{name}={value}" for name, value in ({"lang": language} | query).items() if value)
    page.goto(f"http://127.0.0.1:{port}/?{asked}")
    page.wait_for_function("window.pageOpened === true")
    if query.get("run") and query["tab"] == "live":
        page.locator("svg").locator("visible=true").first.wait_for()
    page.wait_for_timeout(TICKS_MS)
    file.parent.mkdir(parents=True, exist_ok=True)
    if whole:
        page.screenshot(path=str(file), full_page=True)
    else:
        end = page.evaluate("document.querySelector('.g-tabs').getBoundingClientRect().bottom")
        clip = {"x": 0, "y": 0, "width": size[0], "height": min(size[1], round(end) + BELOW)}
        page.screenshot(path=str(file), clip=clip)
    context.close()
    print(file)


@contextlib.contextmanager
def serving(outputs: Path) -> Iterator[int]:
    """The port of a page on these runs."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with tempfile.TemporaryDirectory() as state:
        own = {"ONEGRPO_OUTPUTS": str(outputs.resolve()), "ONEGRPO_STATE": state}
        command = [sys.executable, str(PROJECT / "app.py"), "--port", str(port)]
        process = subprocess.Popen(command, cwd=PROJECT, env=os.environ | own, stdout=subprocess.DEVNULL)
        try:
            for _ in range(UP_S * 5):
                with contextlib.suppress(OSError):
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20).close()
                    break
                time.sleep(0.2)
            yield port
        finally:
            process.terminate()
            process.wait(20)


@contextlib.contextmanager
def browsing() -> Iterator[Any]:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        sys.exit("there is no browser on this machine: apt install chromium")
    root = hasattr(os, "geteuid") and os.geteuid() == 0  # Chromium's own sandbox does not start as root
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=["--no-sandbox"] if root else [])
        yield browser
        browser.close()


if __name__ == "__main__":
    sys.exit(main())
