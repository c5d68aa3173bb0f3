"""A fold that a person opened stays open, whatever the page draws meanwhile."""

from __future__ import annotations

from typing import Any

from tests.builders import checkpoint, finished, write_run
from tests.e2e.browser.conftest import Site

_DRAW_AGAIN = (
    "fold => { const place = fold.parentElement; place.innerHTML = place.innerHTML.replaceAll(' open=\"\"', ''); }"
)


def test_a_fold_that_is_drawn_again_is_as_it_was_left(site: Site, new_page: Any) -> None:
    from playwright.sync_api import expect

    run = write_run(site.outputs, "folded-1", [*finished(4)[:-3], checkpoint(4), *finished(4)[-2:]])
    (run.checkpoints / "checkpoint-4").mkdir(parents=True)
    (run.checkpoints / "checkpoint-4" / "MANIFEST.json").write_text("{}")
    for name in ("merged-10", "merged-20"):
        (run.exports / name).mkdir(parents=True)
        (run.exports / name / "model.safetensors").write_bytes(b"weights")
    page = new_page(site, lang="en", tab="try", run="folded-1")
    folds = page.locator(".g-try details").filter(has=page.locator(".try-files"))
    expect(folds).to_have_count(2)
    links = [fold.locator("a") for fold in folds.all()]
    folds.nth(0).locator("summary").click()
    expect(links[0]).to_be_visible()
    folds.nth(0).evaluate(_DRAW_AGAIN)
    expect(links[0]).to_be_visible()
    expect(links[1]).to_be_hidden()
    folds.nth(0).locator("summary").click()
    expect(links[0]).to_be_hidden()
    folds.nth(0).evaluate(_DRAW_AGAIN)
    page.wait_for_timeout(100)
    expect(links[0]).to_be_hidden()
