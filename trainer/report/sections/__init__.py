"""The sections of a report, in their order: Material and findings -> blocks in one language.

    overview    in short, settings, how GRPO works with this run's numbers
    metrics     metric by metric, held-out rows
    sampling    which prompts came, and what that cost
    resources   time, memory
    groups      groups and prompts, one step up close, samples
    closing     what went well, what to change, conclusion, what is missing, how it was read

No files are written here; prompts and completions are read through Material.
"""

from __future__ import annotations

import time

from trainer.report import rules
from trainer.report.document import Report, Section
from trainer.report.material import Material
from trainer.report.sections import closing, groups, metrics, overview, resources, sampling
from trainer.report.sections.telling import Telling, words


def build(m: Material, language: str, step: int | None = None) -> Report:
    """The whole report. Raises nothing for a run that is unfinished, failed or empty: it says what is missing."""
    say = words(language)
    telling = Telling(m, rules.diagnose(m), say, step)
    found: list[Section] = [overview.summary(telling), overview.overview(telling)]
    if m.state.steps:
        found += [overview.method(telling), metrics.metrics(telling), metrics.evaluation(telling)]
        found.append(sampling.sampling(telling))
        found += [resources.time_spent(telling), resources.memory(telling)]
        found += [groups.patterns(telling), groups.close_up(telling), groups.samples(telling)]
        found += [closing.strengths(telling), closing.changes(telling), closing.conclusion(telling)]
    found += [closing.missing(telling), closing.reading(telling)]
    written = time.strftime("%Y-%m-%d %H:%M", time.localtime(telling.now))
    return Report(
        language=language,
        title=say("title.report", run=m.name),
        subtitle=say("title.written", date=written, steps=f"{len(m.state.steps):,}"),
        sections=[section for section in found if section.blocks],
        footer=say("footer.made", file="events.jsonl", run=m.name),
    )
