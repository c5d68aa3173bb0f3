"""Views of what a run has to give: checkpoints with their scores, exports, files. Values -> HTML; no gradio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trainer.run.best import Best
from trainer.run.records import EvalEvent
from trainer.spec import Method
from trainer.text import Words, forms
from trainer.tryit.exporting import Export, File
from trainer.ui import elements, exported
from trainer.ui.elements import element, escape


@dataclass(frozen=True)
class Scores:
    """Of the weights after a step, on held-out rows; None where that was not measured."""

    reward: float | None = None
    correct: float | None = None
    correlation: float | None = None


def scores(evals: Sequence[EvalEvent]) -> dict[int, Scores]:
    """{step: what its newest evaluation says}; step 0 is the model before training."""
    return {event.step: Scores(event.reward, event.correct_frac, event.correlation) for event in evals}


def checkpoints(
    steps: Sequence[int],
    found: Mapping[int, Scores],
    best: Best | None,
    chosen: int | None,
    loaded: int | None,
    words: Words,
    warm: bool = False,
    method: Method = "grpo",
) -> str:
    """A table, the newest first, below it the model before it. A button in each row chooses what is tried.

    warm: that model has a warm start behind it.
    """
    measured = ("correlation", "ordered") if method == "reward_model" else ("reward", "correct")
    head = [words(f"tryit.checkpoints.{name}") for name in ("step", *measured, "mark")]
    rows = [_row(step, found, _marks(step, best, chosen, loaded, words), step == chosen, head, words) for step in steps]
    if 0 in found:
        before = words(f"tryit.checkpoints.untrained{'_warm' if warm else ''}", method=words(f"method.{method}"))
        cells = [before, *_cells(found[0]), ""]
        rows.append("<tr>" + "".join(_cell(*pair) for pair in zip(head, cells, strict=True)) + "</tr>")
    heads = "".join(element("th", label) for label in head)
    by = "" if best is None else words(f"tryit.checkpoints.best_{_kind(best)}")
    title = element("h3", words("tryit.checkpoints.title"))
    note = element("p", by, "try-foot") if by else ""
    return f'{title}<table class="g-runs"><thead><tr>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table>{note}'


def _kind(best: Best) -> str:
    if best.source != "eval":
        return {"pairs": "by_pairs", "scores.json": "score"}[best.source]
    return "by_correct" if best.by == "correct" else "by"


def _row(step: int, found: Mapping[int, Scores], marks: str, chosen: bool, head: Sequence[str], words: Words) -> str:
    label = escape(words("tryit.checkpoints.choose", step=f"{step:,}"))
    pressed = "true" if chosen else "false"
    button = f'<button type="button" data-step="{step}" aria-label="{label}" aria-pressed="{pressed}">{step:,}</button>'
    cells = "".join(_cell(*pair) for pair in zip(head[1:], [*_cells(found.get(step)), marks], strict=True))
    kind = ' class="g-chosen"' if chosen else ""
    return f"<tr{kind}><td>{button}</td>{cells}</tr>"


def _cells(scores: Scores | None) -> list[str]:
    if scores is None:
        return ["-", "-"]
    first = scores.reward if scores.reward is not None else scores.correlation
    return [
        forms.number(first) if first is not None else "-",
        forms.percent(scores.correct) if scores.correct is not None else "-",
    ]


def _cell(label: str, text: str) -> str:
    return f'<td data-label="{escape(label)}">{escape(text)}</td>'


def _marks(step: int, best: Best | None, chosen: int | None, loaded: int | None, words: Words) -> str:
    said = {
        f"\u2605 {words('tryit.checkpoints.best')}": best is not None and best.step == step,
        f"\u25b6 {words('tryit.checkpoints.chosen')}": step == chosen,
        words("tryit.checkpoints.loaded"): step == loaded,
    }
    return " \u00b7 ".join(text for text, true in said.items() if true)


def exports(run: str, found: Sequence[Export], files: Sequence[File], now: float, words: Words) -> str:
    """Exports that were started, the newest first, and the files that can be downloaded."""
    parts = [_export(one, now, words) for one in found]
    if not found and not files:
        parts.append(element("p", words("tryit.export.none"), "g-empty"))
    return "".join(parts) + _files(run, files, words)


def _export(one: Export, now: float, words: Words) -> str:
    values = {"kind": words(f"tryit.export.kind_{one.kind}"), "step": f"{one.step:,}"}
    if one.state == "running":
        text = words("tryit.export.running", time=words.duration(max(1.0, round(now - one.t))), **values)
        newest = element("p", forms.printable(one.lines[-1])[:200], "try-foot") if one.lines else ""
        return f'<div class="try-export"><p>{elements.dot("running")}{escape(text)}</p>{newest}</div>'
    if one.state == "done":
        where = one.where if one.kind == "hub" else one.where.replace("\\", "/").rpartition("/")[2]
        text = words("tryit.export.done", where=forms.printable(where), **values)
        return f'<div class="try-export"><p>{elements.dot("finished")}{escape(text)}</p></div>'
    head = f"<p>{elements.dot('failed')}{escape(words('tryit.export.failed', **values))}</p>"
    lines = "\n".join(forms.printable(line) for line in one.lines[-6:])
    return f'<div class="try-export">{head}<div class="try-text">{escape(lines)}</div></div>'


def _files(run: str, files: Sequence[File], words: Words) -> str:
    if not files:
        return ""
    folders: dict[str, list[File]] = {}
    for file in files:
        folders.setdefault(file.folder, []).append(file)
    parts = [element("h3", words("tryit.export.files"))]
    for folder, inside in folders.items():
        rows = "".join(
            f'<tr><td><a href="{exported.address(run, folder, file.name)}" download>{escape(file.name)}</a></td>'
            f"<td>{escape(forms.size(file.bytes))}</td></tr>"
            for file in inside
        )
        whole = forms.size(sum(file.bytes for file in inside))
        parts.append(
            f"<details><summary>{escape(folder)} <small>{escape(whole)}</small></summary>"
            f'<table class="try-files"><tbody>{rows}</tbody></table></details>'
        )
    return "".join(parts)
