"""How long the page takes to be there, in a browser that has seen nothing of it yet.

    .venv/bin/python benchmarks/page_opening.py
    .venv/bin/python benchmarks/page_opening.py --run       # and from opening it to a reward that moves, three ways

A real Chromium (the system's), a new profile for each open, against `python app.py` on empty folders. Milliseconds from
the first byte of the server's answer until the grey frame is painted, until the first screen is there (its button, the
presets as cards), until the page was told its first news, and until Start can be pressed; requests, bytes, milliseconds
of the main thread in scripts and layout, and of the processor in browser and server: those until the first news. Unlike
the others, the last two mean something on a busy machine as well. The last line printed is one JSON object.

--run takes a stopwatch to three first evenings, each on a page that is opened anew: the two-minute button; a CSV of
one's own; the same with a Python file of one's own rewards. It ends when the reward's line on Live is drawn otherwise
than before; the CSV is taught to SmolLM2, whose weights must be there already.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.card import card
from benchmarks.page_idle import FLAGS, spent
from tests.e2e.browser.test_own_data import ENGLISH
from tests.ui.conftest import end_server, start_server

WAIT_MS = 120_000
RUN_MS = 600_000
# When each of these is there for the first time, looked at in every frame; from the first byte of the document.
_WATCH = """() => {
    const seen = window.seen = {};
    const first = {
        screen: () => document.querySelector("[data-first]") && document.querySelector(".t-cards .t-card")
            && !document.getElementById("g-opening"),
        told: () => window.pageOpened === true,
        start: () => document.querySelector("[data-start]:not(:disabled)"),
    };
    const look = () => {
        const now = performance.now();
        for (const [name, there] of Object.entries(first)) if (!(name in seen) && there()) seen[name] = now;
        if (Object.keys(seen).length < Object.keys(first).length) requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
}"""
_TAKEN = """() => {
    const byte = performance.getEntriesByType("navigation")[0].responseStart;
    const paint = performance.getEntriesByName("first-contentful-paint")[0];
    const sent = performance.getEntriesByType("resource");
    const own = Object.fromEntries(Object.entries(window.seen).map(([name, at]) => [`${name}_ms`, at - byte]));
    return {skeleton_ms: paint.startTime - byte, ...own, requests: sent.length,
        kib: sent.reduce((sum, one) => sum + one.transferSize, 0) / 1024};
}"""
# The reward is drawn, and drawn otherwise.
_MOVES = """() => {
    const path = document.querySelector('.g-large svg[role="img"] path[class^="g-line"]')?.getAttribute("d");
    window.drawn ??= path;
    return Boolean(path) && path !== window.drawn;
}"""
Numbers = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--opens", type=int, default=9)
    parser.add_argument("--run", action="store_true", help="press the two-minute button as well")
    given = parser.parse_args()
    print(card("page_opening", opens=given.opens))
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "outputs").mkdir()
        server = start_server(Path(name))
        try:
            found = measured(server.port, server.process.pid, given.opens)
            moved = {name: journey(server.port, name) for name in JOURNEYS} if given.run else {}
        finally:
            end_server(server)
    print(f"{'':14}{'median':>10}{'least':>10}{'most':>10}")
    for key in found[0]:
        values = sorted(numbers[key] for numbers in found)
        print(f"{key:14}{statistics.median(values):>10.0f}{values[0]:>10.0f}{values[-1]:>10.0f}")
    medians = {key: round(statistics.median(numbers[key] for numbers in found), 1) for key in found[0]}
    for name, (clicks, start_s, moved_s) in moved.items():
        print(f"{name:24}{clicks} clicks, {start_s:.1f} s to the last of them, {moved_s:.1f} s to a reward that moves")
    print(json.dumps({"opens": given.opens, "median": medians, "moved": moved}))


def measured(port: int, server: int, opens: int) -> list[Numbers]:
    """Numbers of each open, in a browser of its own each: nothing is kept, compiled scripts neither."""
    found = []
    for _ in range(opens):
        with a_browser() as browser:
            found.append(opened(browser, port, server)[1])
    return found


@contextlib.contextmanager
def a_browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


def journey(port: int, name: str) -> tuple[int, float, float]:
    """(clicks, a chosen file being one; seconds to the last of them; seconds to a reward that moves)."""
    with a_browser() as browser:
        began = time.perf_counter()
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.set_default_timeout(WAIT_MS)
        page.goto(f"http://127.0.0.1:{port}/?lang=en", wait_until="commit")
        page.wait_for_function("window.pageOpened === true")
        clicks = JOURNEYS[name](page)
        started = time.perf_counter() - began
        page.wait_for_function(_MOVES, timeout=RUN_MS)
        moved = time.perf_counter() - began
        stop(page)
    return clicks, round(started, 1), round(moved, 1)


def _button(page: Any) -> int:
    page.locator("[data-first]").click()
    return 1


def _own_rows(page: Any, start: bool = True) -> int:
    page.locator("[data-start]:not([disabled])").wait_for()
    sheet = f"Question,Reply\n{ENGLISH}".encode()
    page.locator("[data-choose]").set_input_files({"name": "capitals.csv", "mimeType": "text/csv", "buffer": sheet})
    page.locator(".t-own").wait_for()
    if start:
        page.locator("[data-start]:not([disabled])").click()
    return 2 if start else 1


def _own_reward(page: Any) -> int:
    clicks = _own_rows(page, start=False)
    choose = page.locator("[data-choose-code]")
    folds = choose.locator("xpath=ancestor::details[not(@open)]")
    while folds.count():
        folds.first.locator("> summary").click()
        clicks += 1
    choose.set_input_files({"name": "mine.py", "mimeType": "text/x-python", "buffer": REWARD.encode()})
    page.locator("[data-add-own]").click()
    page.locator(".t-sum", has_text="exclamation").wait_for()
    page.locator("[data-start]:not([disabled])").click()
    return clicks + 3


REWARD = '''def polite(completions, **columns):
    """1 where the answer has no exclamation mark."""
    return [0.0 if "!" in str(each) else 1.0 for each in completions]
'''
JOURNEYS = {"the button": _button, "own CSV": _own_rows, "own CSV, own rewards": _own_reward}


def opened(browser: Any, port: int, server: int) -> tuple[Any, Numbers]:
    before = spent(server)
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.add_init_script(f"({_WATCH})()")
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    page.goto(f"http://127.0.0.1:{port}/?lang=en", wait_until="commit")
    page.wait_for_function("window.seen && 'told' in window.seen", timeout=WAIT_MS)
    after = spent(server)
    metrics = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
    page.wait_for_function("'start' in window.seen", timeout=WAIT_MS)
    threads = (("script_ms", "Script"), ("layout_ms", "Layout"))
    main_thread = {name: 1000 * metrics[f"{key}Duration"] for name, key in threads}
    cost = {key.replace("_s", "_cpu_ms"): 1000 * (after[key] - before[key]) for key in after}
    return page, page.evaluate(_TAKEN) | main_thread | cost


def stop(page: Any) -> None:
    """The run that was started, before its folder goes."""
    page.locator("#live-stop").click()
    page.wait_for_function("document.querySelector('.g-stopped, .g-finished')", timeout=WAIT_MS)


if __name__ == "__main__":
    main()
