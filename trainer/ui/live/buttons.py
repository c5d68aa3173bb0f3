"""What each button of Live would do now, or why it is off. No gradio."""

from __future__ import annotations

from dataclasses import dataclass

from trainer.launch import FORCE_AFTER_S, chain, save_asked, stop_asked, stops_at
from trainer.run.queue_place import place_of
from trainer.run.status import LIVE
from trainer.text import Words, forms
from trainer.ui.known_runs import Seen
from trainer.ui.live.views import EARLY, RECENT, device


@dataclass(frozen=True)
class Action:
    """What a button does, or why it is off. label: key of its words. shown: False where it has no place yet."""

    on: bool
    text: str
    label: str
    shown: bool = True


def actions(seen: Seen, words: Words, now: float) -> dict[str, Action]:
    """By the name of the button, in order."""
    return {
        "stop": stop(seen, words),
        "pause": pause(seen, words),
        "stop_at": stop_at(seen, words, now),
        "save": save(seen, words),
        "resume": resume(seen, words),
        "report": Action(True, words("live.report_does"), "live.report"),
        "force": force(seen, words, now),
    }


def nothing(words: Words, why: str = "live.no_run") -> dict[str, Action]:
    """Without a run, or with one that cannot be read. why: key of its words."""
    names = ("stop", "pause", "stop_at", "save", "resume", "report", "force")
    return {name: Action(False, words(why), f"live.{name}", name != "force") for name in names}


def stop(seen: Seen, words: Words) -> Action:
    """Whether the run can be asked to stop, and what happens then."""
    label = "live.stop"
    if seen.status == "stopping":
        asked = stop_asked(seen.rundir)
        if asked is not None and asked.pause:  # a stop makes of it a run that was stopped
            return Action(True, words("stop.pausing"), label)
        return Action(False, words("stop.asked"), label)
    if _waits(seen):  # what ends is its waiting
        return Action(True, words("stop.queued"), "live.unqueue")
    if seen.status not in LIVE:
        return Action(False, words("stop.ended"), label)
    early = _early(seen)
    return Action(True, words(f"stop.{early}") if early else words("stop.now", **_boundary(seen, words)), label)


def pause(seen: Seen, words: Words) -> Action:
    label = "live.pause"
    if seen.status == "stopping":
        return Action(False, words("stop.asked"), label)
    if seen.status not in LIVE:
        return Action(False, words("stop.ended"), label)
    early = _early(seen)
    if early:
        return Action(True, words(f"live.pausing.{early}", device=device(seen.state, words)), label)
    told = words("live.pausing.now", device=device(seen.state, words), **_boundary(seen, words))
    return Action(True, told, label)


def stop_at(seen: Seen, words: Words, now: float) -> Action:
    """At a time of day, by itself: nobody has to be there."""
    label = "live.stop_at"
    if seen.status == "stopping":
        return Action(False, words("stop.asked"), label)
    if seen.status not in LIVE:
        return Action(False, words("stop.ended"), label)
    at = stops_at(seen.rundir)
    if at is None:
        return Action(True, words("live.stopping_at.none"), label)
    return Action(True, words("live.stopping_at.set", clock=forms.moment(at, now)), label)


def save(seen: Seen, words: Words) -> Action:
    """A checkpoint between two steps, and on it goes."""
    label = "live.save"
    if seen.status == "stopping":
        return Action(False, words("live.saving.stopping"), label)
    if seen.status not in LIVE:
        return Action(False, words("stop.ended"), label)
    if _early(seen):
        return Action(False, words("live.saving.early"), label)
    if save_asked(seen.rundir) is not None:
        return Action(False, words("live.saving.asked", **_boundary(seen, words)), label)
    return Action(True, words("live.saving.now", **_boundary(seen, words)), label)


def resume(seen: Seen, words: Words) -> Action:
    """Whether the run can go on, and from where."""
    label = "live.continue" if seen.status == "paused" else "live.resume"
    if seen.status in LIVE:
        return Action(False, words("resume.live"), label)
    if _waits(seen):
        return Action(False, words("resume.queued"), label)
    if seen.spec is not None and (held := chain.held(seen.rundir, seen.status, seen.state)) is not None:
        return Action(True, words("resume.next_stage", run=held.stage.rundir.name), "live.next_stage")
    if seen.status in ("finished", "imported"):
        return Action(False, words(f"resume.{seen.status}"), label)
    attempt = max(seen.rundir.newest_attempt(), seen.state.attempts) + 1
    saved = _saved(seen)
    if saved is None:
        return Action(True, words("resume.nothing", attempt=attempt), label)
    return Action(True, words("resume.checkpoint", checkpoint=saved[0], attempt=attempt), label)


def force(seen: Seen, words: Words, now: float) -> Action:
    """Shown when a stop was asked for long ago and the worker is still there. text: what would be lost."""
    label = "live.force"
    asked = stop_asked(seen.rundir) if seen.status in LIVE else None
    if asked is None or now - asked.t < FORCE_AFTER_S:
        return Action(False, "", label, shown=False)
    last, saved = seen.state.last_step, _saved(seen)
    kept = saved[1] if saved else 0
    if last <= kept:
        return Action(True, words("live.forcing.nothing"), label)
    if saved is None:
        return Action(True, words("live.forcing.all", count=f"{last:,}"), label)
    return Action(True, words("live.forcing.some", first=f"{kept + 1:,}", last=f"{last:,}", checkpoint=saved[0]), label)


def came(seen: Seen) -> str:
    """Names of the requests that wait for nothing any more, so that what was said of them can go. The number of
    checkpoints makes it another word when a save was met between two looks."""
    if seen.status not in LIVE:
        return "stop pause save"
    saved = "" if save_asked(seen.rundir) is not None else f" save {len(seen.state.checkpoints)}"
    return f"resume{saved}" if seen.status == "running" else saved.strip()


def _waits(seen: Seen) -> bool:
    """In the queue: one that never began, or that is to go on."""
    return seen.status not in LIVE and place_of(seen.rundir) is not None


def _early(seen: Seen) -> str:
    """Key of what a request waits for before the newest attempt has ended a step of its own; "" later."""
    state = seen.state
    kept = (state.started.resumed_from_step if state.started else None) or 0
    if seen.status == "starting" or state.phase in EARLY:
        return "before"
    return "" if state.last_step > kept else "first"


def _boundary(seen: Seen, words: Words) -> dict[str, str]:
    """The step after which a request is met, and in how long: there a new generation would begin."""
    state = seen.state
    updates = (state.plan or {}).get("updates_per_phase")
    each = updates if isinstance(updates, int) and updates > 0 else 1
    step = (state.last_step // each + 1) * each
    step = min(step, seen.total) if seen.total and seen.total > state.last_step else step
    pace = [seconds for seconds in state.seconds[-RECENT:] if seconds is not None]
    left = sum(pace) / len(pace) * (step - state.last_step) if pace else None
    return {"step": f"{step:,}", "time": words.duration(left)}


def _saved(seen: Seen) -> tuple[str, int] | None:
    """Name and step of the newest checkpoint that was found sound."""
    for event in reversed(seen.state.checkpoints):
        if event.verified:
            return forms.printable(str(event.name)), event.step
    return None
