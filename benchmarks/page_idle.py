"""What the page costs: its start, and while it is open and nobody touches it, in seconds of the processor.

    .venv/bin/python benchmarks/page_idle.py

A real Chromium (the system's) shows a finished run; each tab is opened and left alone. The page asks once in TICK_S:
events that repeat themselves would show here as requests. The last line printed is one JSON object.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.card import card
from tests.builders import finished, write_run
from tests.ui.conftest import end_server, start_server

IDLE_S = 8.0
SETTLE_MS = 2000  # for what a tab asks when it is opened
TABS = ("train", "live", "groups", "health", "runs", "try")
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-proxy-server"]


def main() -> None:
    print(card("page_idle", idle_s=IDLE_S))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "outputs").mkdir()
        write_run(folder / "outputs", "tiny-1", finished())
        server = start_server(folder)
        start_s = spent(server.process.pid)["server_s"]
        try:
            found = measured(server.port, server.process.pid)
        finally:
            end_server(server)
    print(f"{'tab':10}{'browser_s':>12}{'server_s':>12}{'requests':>12}")
    for tab, numbers in found.items():
        print(f"{tab:10}{numbers['browser_s']:>12.2f}{numbers['server_s']:>12.2f}{numbers['requests']:>12}")
    print(f"start      {start_s:.2f} s until it answers")
    print(json.dumps({"idle_s": IDLE_S, "start_s": start_s, "tabs": found}))


def measured(port: int, server: int) -> dict[str, dict[str, Any]]:
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    found: dict[str, dict[str, Any]] = {}
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=FLAGS)
        for tab in TABS:
            page: Any = browser.new_page(viewport={"width": 1280, "height": 900})
            asked: list[Any] = []
            page.on("request", lambda request, asked=asked: asked.append(request))
            page.goto(f"http://127.0.0.1:{port}/?lang=en&run=tiny-1&tab={tab}")
            page.wait_for_function("window.pageOpened === true")
            page.wait_for_timeout(SETTLE_MS)
            before, asked_before = spent(server), len(asked)
            page.wait_for_timeout(1000 * IDLE_S)
            after = spent(server)
            numbers: dict[str, Any] = {key: round(after[key] - before[key], 2) for key in after}
            found[tab] = numbers | {"requests": sum("/queue/join" in request.url for request in asked[asked_before:])}
            page.close()
        browser.close()
    return found


def spent(server: int) -> dict[str, float]:
    """Seconds of the processor until now, of this script's browser and of the server."""
    of_server = psutil.Process(server).cpu_times()
    browser = 0.0
    for process in psutil.Process().children(recursive=True):
        if "chrom" in process.name():
            times = process.cpu_times()
            browser += times.user + times.system
    return {"browser_s": browser, "server_s": of_server.user + of_server.system}


if __name__ == "__main__":
    main()
