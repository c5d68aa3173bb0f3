"""What the form of Train is told about itself: values, problems with their fixes, plan, command. No gradio."""

from __future__ import annotations

import base64
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainer import presets
from trainer.errors import Problem, Said, TrainerError
from trainer.plan import MemoryPart, RunPlan, card
from trainer.plan.duration import Duration
from trainer.preflight import machine
from trainer.presets import explain
from trainer.spec.methods import SAMPLING
from trainer.tasks.making import Progress
from trainer.text import Message, Words
from trainer.text import forms as numbers
from trainer.ui import elements, stage_line
from trainer.ui.elements import element, escape
from trainer.ui.train import cards, counts, fields, fixes, labels, own, page, recipes, toml
from trainer.ui.train import components as rewards
from trainer.ui.train import form as forms
from trainer.ui.train.actions import Checked
from trainer.ui.train.fixes import Way

# Colours of the memory bar by place, safe for colour-blind eyes; the legend says each in words.
_COLOURS = (
    "#0072b2",
    "#e69f00",
    "#009e73",
    "#cc79a7",
    "#56b4e9",
    "#d55e00",
    "#8c8c00",
    "#7a5195",
    "#5c5c5c",
    "#b07aa1",
)


def still(say: Words) -> dict[str, Any]:
    """What depends on the language and on this machine only."""
    return {
        "language": say.language,
        "html": page.rendered(say),
        "words": {key: say(f"train.{key}") for key in _SCRIPT_WORDS},
    }


# Warnings that stand above Start as well: the run would not come to what was meant.
UNTEACHABLE = "presets.advice.task_of_random_weights"
GRAVE = (UNTEACHABLE, "presets.advice.own_of_random_weights", "presets.advice.right_costs")
NAMES = ("page.name_rule", "page.name_taken")  # problems of the run's name
# Words the script puts in by itself.
_SCRIPT_WORDS = (
    "see", "with_own",
    "start", "starting", "copy", "copied", "from_preset", "from_run", "from_file", "with_changes", "undo",
    "undo_empty", "changed_one", "changed_many", "silent", "too_large", "former_rows", "sending", "not_sent",
    "file_large", "pasted", "with_recipes",
)  # fmt: skip


def answer(checked: Checked, say: Words) -> dict[str, Any]:
    """What the settings come to. Whatever is HTML is escaped."""
    ways = fixes.ways(checked)
    found = fields.values(checked.raw) if checked.raw else {}
    components = _components(checked.raw)
    trl, trl_before = _lines(checked.raw.get("trl")), _lines(checked.base.get("trl"))
    return {
        "base": checked.form.base if checked.form.kind != "toml" else checked.form.file,
        "values": found,
        "before": fields.values(checked.base) if checked.base else {},
        "columns_before": _columns(checked.base),
        "trl": trl,
        "trl_before": trl_before,
        "components": [_inline(component) for component in components],
        "components_before": [_inline(component) for component in _components(checked.base)],
        "rewards": rewards.rendered(components, say),
        "shape": _shape(components),
        "built": checked.is_built,
        "errors": [{"where": one.where, "html": html}
                   for one, html in zip(checked.problems, _errors(checked, ways, say), strict=True)
                   if one != checked.making],
        "making": _making(checked, ways, say),
        "verdict": readiness(checked, ways, say),
        "ways": [[_sent(way) for way in of_one] for of_one in ways],
        "fits": [_sent(Way(_typed(each.changes))) for each in (checked.plan.suggestions if checked.plan else [])],
        "right": not checked.problems,
        "settled": checked.is_settled or bool(checked.problems),
        "recipes": list(checked.form.recipes),
        "recipe_changes": recipes.changed(checked, say),
        "plan": plan(checked, say),
        "command": checked.command,
        "note": say("train.command_file", file=checked.toml_name) if checked.form.kind != "preset" else "",
        "toml": _link(checked.toml),
        "toml_name": checked.toml_name,
    }  # fmt: skip


def _sent(way: Way) -> dict[str, list[str]]:
    return {"changes": list(way.changes), "undo": list(way.undo)}


def _typed(changes: Sequence[tuple[str, Any]]) -> tuple[str, ...]:
    return tuple(f"{key}={fields.shown(value)}" for key, value in changes)


def _components(raw: dict[str, Any]) -> list[Any]:
    reward = raw.get("reward")
    found = reward.get("components") if isinstance(reward, dict) else None
    return found if isinstance(found, list) else []


def _columns(raw: dict[str, Any]) -> dict[str, Any]:
    data = raw.get("data")
    found = data.get("columns") if isinstance(data, dict) else None
    return found if isinstance(found, dict) else {}


def _shape(components: Any) -> Any:
    """Changes when controls have to be made anew."""
    return [[one.get("function"), one.get("file"), one.get("name"), _shape(one.get("components") or [])]
            for one in components if isinstance(one, dict)]  # fmt: skip


def _inline(component: Any) -> str:
    try:
        return toml.inline(component)
    except TypeError:
        return "{}"


def _lines(table: Any) -> dict[str, str]:
    """The arguments of [trl], each as it is written in its line."""
    if not isinstance(table, dict):
        return {}
    return {str(key): _inline(value) for key, value in table.items()}


def _link(text: str) -> str:
    return f"data:application/toml;base64,{base64.b64encode(text.encode()).decode()}" if text else ""


# ---- problems


def readiness(checked: Checked, ways: list[list[Way]], say: Words) -> str:
    """What stands above Start: that it can start, or why not and what would fix it."""
    count = len(checked.problems)
    if not count:
        ready = elements.notice(say("train.ready" if checked.is_settled else "train.checking", name=checked.next_name))
        return ready + _but(checked, say)
    if checked.making is not None and count == 1:
        return elements.notice(say("train.wait_rows"))
    htmls = _errors(checked, ways, say)
    places = [one.said(say).where for one in checked.problems]
    return _problems(_counted(count, checked.held_back, say), places, htmls, _instead(checked, say))


def _making(checked: Checked, ways: list[list[Way]], say: Words) -> dict[str, Any] | None:
    """How far the rows of the task are. html: stays the same until they are there, with its button under a finger."""
    if checked.making is None:
        return None
    place, progress = checked.problems.index(checked.making), Progress.of(checked.making)
    label = escape(say("train.making"))
    stop = f'<button type="button" class="t-fix" data-fix="{place}.0">{escape(say("train.stop_making"))}</button>'
    bar = f'<p>&nbsp;</p><progress aria-label="{label}"></progress>{stop if ways[place] else ""}'
    told = {"text": say.said(progress.message()), "done": progress.done, "size": progress.size}
    return {"html": f'<div class="t-making">{bar}</div>', "file": checked.making.values["file"], **told}


def _but(checked: Checked, say: Words) -> str:
    """What to know before Start is pressed: it can be, and will not come to what was meant."""
    warnings = checked.plan.warnings if checked.plan is not None else []
    told = [warning for warning in warnings if warning.key in GRAVE]
    too_long = checked.lasts.too_long if checked.lasts is not None else None
    told += [too_long] if too_long is not None else []
    if not told:
        return ""
    shown = "".join(element("p", say.said(one)) for one in told)
    other = _other_model(say) if any(one.key == UNTEACHABLE for one in told) else ""
    return f'<div class="g-wrong">{shown}{other}</div>' + (_instead(checked, say, True) if too_long else "")


def _other_model(say: Words) -> str:
    """A preset whose model can do the chosen task; the task stays, everything else is the preset's."""
    name = own.teachable()
    info = next((info for info in presets.list_presets() if info.name == name), None)
    if info is None:
        return ""
    label = escape(say("train.other_model", model=info.model.rpartition("/")[2], preset=info.name))
    return (
        f'<p><button type="button" class="t-fix" data-instead="{info.name}" data-keep="data.task">{label}</button></p>'
    )


def _instead(checked: Checked, say: Words, too_long: bool = False) -> str:
    """A preset that any machine trains, where this one lacks the GPU that the settings ask for, or months."""
    lacks_gpu = too_long or any(problem.key in machine.WITHOUT_GPU for problem in checked.problems)
    if not lacks_gpu or checked.form.base == forms.FIRST or forms.first().base != forms.FIRST:
        return ""
    label = escape(say("train.instead", preset=forms.FIRST))
    return f'<p><button type="button" class="t-fix" data-instead="{forms.FIRST}">{label}</button></p>'


def refused(error: TrainerError, say: Words, a_start: bool = True) -> str:
    """Why something was not done. a_start: a run cannot be started because of it."""
    found = [problem.said(say) for problem in error.problems]
    htmls = [_error(one.what, one.fix, "", say) for one in found]
    sentence = _counted(len(found), isinstance(error, forms.HeldBack), say) if a_start else ""
    return _problems(sentence, [one.where for one in found], htmls)


def _counted(count: int, is_least: bool, say: Words) -> str:
    least = "least_" if is_least else ""
    return say(f"train.problems_{least}{'one' if count == 1 else 'many'}", count=count)


def _problems(sentence: str, places: Sequence[str], htmls: Sequence[str], first: str = "") -> str:
    """first: HTML of a way out of all of them."""
    items = [f"<li>{element('b', place)} {html}</li>" for place, html in zip(places, htmls, strict=True)]
    return f'<div class="g-wrong" role="alert">{element("p", sentence)}{first}<ul>{"".join(items)}</ul></div>'


def _errors(checked: Checked, ways: list[list[Way]], say: Words) -> list[str]:
    """For each problem a sentence, and a button for each way to fix it."""
    before = fields.values(checked.base) if checked.base else {}
    found = [_as_typed(problem, checked).said(say) for problem in checked.problems]
    return [
        _error(
            one.what,
            one.fix,
            _renames(checked.problems[place], say) + _buttons(one, place, ways[place], before, say),
            say,
        )
        for place, one in enumerate(found)
    ]


def _renames(problem: Problem, say: Words) -> str:
    """A name that is free, where the one that was typed cannot be taken."""
    name = str(problem.values.get("instead", "")) if problem.key in NAMES else ""
    label = escape(say("train.use", value=name))
    return f'<button type="button" class="t-fix" data-rename="{escape(name)}">{label}</button>' if name else ""


def _error(what: str, fix: str, buttons: str, say: Words) -> str:
    """Where there is no button, what to do or to type."""
    typed = f'<div class="g-fix">{escape(say("train.type_this"))}: {element("code", fix)}</div>'
    return f"{escape(what)}{typed if fix and not buttons else ''}<div>{buttons}</div>"


def _as_typed(one: Problem, checked: Checked) -> Problem:
    """The problem with its number as somebody typed it: 1e9, not 1000000000.0."""
    typed = next((change.partition("=")[2] for change in checked.form.changes if fixes.key_of(change) == one.place), "")
    try:
        is_seen = one.values.get("seen") == explain.shown(float(typed))
    except ValueError:
        return one
    return Problem(one.key, one.place, **one.values | {"seen": typed.strip()}) if is_seen else one


def _buttons(one: Said, place: int, ways: list[Way], before: dict[str, str], say: Words) -> str:
    return "".join(
        f'<button type="button" class="t-fix" data-fix="{place}.{number}">'
        f"{escape(labels.of_way(way, one.where, before, say))}</button>"
        for number, way in enumerate(ways)
    )


# ---- plan


def plan(checked: Checked, say: Words) -> str:
    """The numbers of a plan, its memory as a bar, what would make it fit, and the whole card folded."""
    made = checked.plan
    if made is None:
        return element("p", say("train.wait_rows" if checked.making is not None else "train.no_plan"), "g-empty")
    pieces = [element("p", counts.counted(made, say), "g-lead")]
    if checked.spec is not None and checked.spec.chain is not None:
        told = say("train.stages", name=checked.spec.chain.name)
        pieces.append(stage_line.of_preset(checked.spec, made, say) + element("p", told))
    if made.start is not None:
        pieces.append(element("p", say("train.starts_from", start=made.start)))
    warm = checked.spec.model.warm_start if checked.spec is not None else None
    if warm is not None:
        told = say("train.warm_start", steps=warm.steps, path=Path(warm.path).name, method=say(f"method.{made.method}"))
        pieces.append(element("p", told))
    if made.rows is None:
        pieces.append(element("p", say("train.rows_later"), "t-small"))
    if made.optimizer_steps is None:
        waits = made.method in SAMPLING and made.rows is not None
        pieces.append(element("p", say("train.steps_after" if waits else "train.steps_unknown"), "t-small"))
    pieces.append(lasting(checked.lasts, say, time.time()))
    measured = next((info.measured for info in presets.list_presets() if info.name == checked.form.base), None)
    other = any(change.startswith(("model.", "data.", "reward.", "run.method")) for change in checked.form.changes)
    if checked.form.kind == "preset" and measured and not other:
        pieces.append(element("p", say("train.measured_as", measured=measured), "t-small"))
    if made.fast:
        pieces.append(element("p", say("train.fast", parts=made.fast), "t-small"))
    pieces += [_told("sampling", made.sampling, say), _memory(made, say), _fitting(made, say)]
    pieces.append(_told("warnings", made.warnings, say))
    return "".join(pieces) + elements.folded(
        say("train.card"), card.render(checked.spec, made, say, checked.lasts, time.time()) if checked.spec else ""
    )


def _told(title: str, sentences: Sequence[Message], say: Words) -> str:
    """A list under its title; nothing without a sentence."""
    shown = "".join(element("li", say.said(sentence)) for sentence in sentences)
    return f"{element('h4', say(f'train.{title}'))}<ul class='t-list'>{shown}</ul>" if shown else ""


def lasting(lasts: Duration | None, say: Words, now: float) -> str:
    """Seconds a step, the whole of it, when it would be done, and where the number is from."""
    if lasts is None:
        return element("p", say("train.time_unknown"), "t-small")
    if lasts.total_s is None:
        told = element("b", say("train.time_step", step=lasts.step_s))
    else:
        told = element("b", say("train.time_all", step=lasts.step_s, total=lasts.total_s))
        if lasts.gb is None:  # the script sets the clock on while the page stands open
            clock, zone = numbers.moment(now + lasts.total_s, now), time.localtime(now).tm_gmtoff // 60
            shown = f'<time data-lasts="{lasts.total_s:.0f}" data-zone="{zone}">{clock}</time>'
            told += ", " + escape(say("plan.duration.done", clock=clock)).replace(clock, shown)
    most = element("p", say.said(lasts.at_most), "t-small") if lasts.at_most is not None else ""
    return f'<p class="t-time">{told} <span class="t-small">({escape(say.said(lasts.source))})</span></p>{most}'


def _memory(made: RunPlan, say: Words) -> str:
    """The terms of the larger phase beside each other, against what the machine has."""
    total, limit = made.memory_total_gib, made.memory_limit_gib
    if total is None:
        return element("p", say("train.memory_unknown", why=made.memory_unknown or ""), "t-small")
    larger = "generation" if (made.memory_generation_gib or 0) > (made.memory_update_gib or 0) else "update"
    parts = [part for part in made.memory if part.phase in ("always", larger) and part.gib > 0]
    scale = max(total, limit or 0)
    bars = "".join(
        f'<i style="width:{100 * part.gib / scale:.2f}%;background:{_COLOURS[place % len(_COLOURS)]}"></i>'
        for place, part in enumerate(parts)
    )
    if limit is not None and total > limit:
        bars += f'<u style="left:{100 * limit / scale:.2f}%"></u>'
    legend = "".join(
        f'<li><i style="background:{_COLOURS[place % len(_COLOURS)]}"></i>'
        f"{escape(_part(part, say))} {numbers.number(part.gib)}</li>"
        for place, part in enumerate(parts)
    )
    verdicts = {"fits": "fits", "tight": "tight", "does not fit": "no"}
    key = verdicts.get(made.memory_verdict)
    if key and limit is not None:
        where = made.gpu_name if made.memory_on == "GPU" and made.gpu_name else made.memory_on
        told = say(f"train.memory_{key}", need=total, has=limit, where=where)
    else:
        told = say("train.memory_alone", need=total, where=made.memory_on)
    told += " " + say(f"train.peak_{'evaluation' if larger == 'generation' and made.method == 'sft' else larger}")
    sign = cards.SIGNS.get({"fits": "fits", "tight": "tight", "no": "no"}.get(key or "", "unknown"), "?")  # type: ignore[call-overload]
    return (
        f'{element("h4", say("train.memory"))}<p class="t-fit t-{key or "unknown"}">{sign} {escape(told)}</p>'
        f'<div class="t-bar" role="img" aria-label="{escape(told)}">{bars}</div><ul class="t-legend">{legend}</ul>'
    )


def _part(part: MemoryPart, say: Words) -> str:
    return say(f"train.part.{part.key}")


def _fitting(made: RunPlan, say: Words) -> str:
    """Changes that make it fit, each with its button."""
    if not made.suggestions:
        return ""
    items = "".join(
        f'<li><button type="button" class="t-fix" data-fits="{place}">'
        f"{escape(labels.of_way(Way(_typed(each.changes)), '', {}, say))}</button> "
        f"{escape(say('train.comes_to', gib=each.total_gib))} {escape(each.effect(say))}</li>"
        for place, each in enumerate(made.suggestions)
    )
    return f"{element('h4', say('train.make_it_fit'))}<ul class='t-list'>{items}</ul>"
