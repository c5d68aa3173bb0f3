"""The page's server is killed in the middle of a real run."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from tests.e2e.browser.conftest import Site, Watch, start, steps, wait_for
from trainer import launch
from trainer.run.state import RunFollower

STEPS = 30


@pytest.mark.slow
def test_the_run_goes_on_and_a_new_server_shows_it(own_site: Site, new_page: Any, watch: Watch) -> None:
    """The page started it, and its worker is a child of the server that is killed."""
    page = new_page(own_site, lang="en")
    start(page, "watched", {"optim.max_steps": STEPS, "checkpoint.save_steps": 5, "eval.max_rows": 16})
    run = own_site.run("watched")
    wait_for(lambda: len(steps(run)) >= 3)

    watch.server_is_gone = True
    os.kill(own_site.server.process.pid, signal.SIGKILL)
    own_site.server.process.wait(20)
    before = len(steps(run))
    wait_for(lambda: len(steps(run)) >= before + 2)
    assert launch.status_of(run) == "running"
    page.context.close()

    own_site.restart()
    watch.server_is_gone = False
    page = new_page(own_site, run="watched", lang="en")
    page.get_by_text("watched").locator("visible=true").first.wait_for()
    page.context.close()
    wait_for(lambda: launch.status_of(run) == "finished")
    everyone = list(range(1, STEPS + 1))
    assert steps(run) == everyone
    state = RunFollower(run).tick()
    assert state.steps == everyone
    assert all(value is not None for value in state.metrics["train/reward"])
    page = new_page(own_site, run="watched", tab="live", lang="en")
    page.locator(f'.g-board .g-large svg[role="img"][aria-label$="step {STEPS}"]').wait_for()
