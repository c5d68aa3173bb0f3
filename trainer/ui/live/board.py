"""The large chart and the board of small ones with the line above it, drawn again only where something has changed. No
gradio.
"""

from __future__ import annotations

import bisect
import threading
from collections import OrderedDict

from trainer.text import Words
from trainer.ui import elements
from trainer.ui.known_runs import Seen
from trainer.ui.live import cards
from trainer.ui.live.drawing import BACK, NOTHING, View

KEEP = 8  # boards: browsers that look at different things


class Boards:
    """Remembers the last few boards: between two steps of a run a tick draws nothing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._drawn: OrderedDict[tuple[object, ...], tuple[str, str]] = OrderedDict()

    def of(self, seen: Seen, view: View, say: Words) -> tuple[str, str]:
        """The large chart and the board. Call it inside KnownRuns.look."""
        state = seen.state
        told = (len(state.steps), state.last_step, len(state.evals), state.attempts, state.gpu is None, seen.status)
        key = (seen.rundir.path, id(state), *told, view, say.language)
        with self._lock:
            drawn = self._drawn.pop(key, None)
            if drawn is None:
                small = _shown(seen, view, say) + cards.render(cards.cards(seen, view, say), say)
                drawn = cards.render([cards.stage(seen, view, say)], say), small
            self._drawn[key] = drawn
            while len(self._drawn) > KEEP:
                self._drawn.popitem(last=False)
        return drawn


def empty(say: Words) -> tuple[str, str]:
    """Without a run: of the same size."""
    line = elements.element("p", say("live.shown_none"), "g-shown")
    large = cards.render([cards.stage(None, NOTHING, say)], say)
    return large, line + cards.render(cards.cards(None, NOTHING, say), say)


def _shown(seen: Seen, view: View, say: Words) -> str:
    """Which steps are shown and how, in one line that is always there."""
    steps = seen.state.steps
    if not steps:
        return elements.element("p", say("live.shown_none"), "g-shown")
    first, last = f"{view.first:,}", f"{view.last:,}"
    if view.wrong:
        bad = say("live.range_bad", typed=view.wrong, first=steps[0], last=steps[-1])
        return elements.element("p", bad, "g-shown g-bad")
    total = f"{steps[-1]:,}"
    if not view.width or len(steps) < 2 * view.width:
        text = say("live.shown", first=first, last=last, total=total)
    else:
        text = say("live.shown_mean", first=first, last=last, total=total, count=f"{view.width:,}")
    if bisect.bisect_right(steps, view.last) > BACK:  # no arrow is drawn before
        text = f"{text} {say('live.arrows', back=BACK)}"
    return elements.element("p", text, "g-shown")
