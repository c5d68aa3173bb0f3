"""Rules of the data and of what is done with held-out rows."""

from __future__ import annotations

import string
from collections.abc import Iterator

from trainer.errors import Problem
from trainer.presets.explain import shown
from trainer.presets.rules.registry import rule
from trainer.spec import RunSpec


@rule("data.prompt_template", "data.few_shot", "model.warm_start")
def _templates_are_readable(spec: RunSpec) -> Iterator[Problem]:
    templates = {"data.prompt_template": spec.data.prompt_template}
    if spec.data.few_shot is not None:
        templates["data.few_shot.template"] = spec.data.few_shot.template
    if spec.model.warm_start is not None:
        templates["model.warm_start.completion_template"] = spec.model.warm_start.completion_template
    for key, template in templates.items():
        fix = f'{key} = "... {{column}} ..."; a brace itself is written {{{{ or }}}}'
        try:
            fields = [part[1:] for part in string.Formatter().parse(template) if part[1] is not None]
        except ValueError as error:
            yield Problem.plain(key, f"is {shown(template)}: {error}", fix)
            continue
        if not fields:
            yield Problem.plain(
                key, f"is {shown(template)}: it names no column, so every row would give the same text", fix
            )
        for name, width, conversion in fields:
            if not name or name.isdigit() or not name.isidentifier() or width or conversion:
                yield Problem.plain(key, f"is {shown(template)}: {{{name}}} is more than the name of a column", fix)


@rule("data.prompt_template", "data.instruction", "data.few_shot")
def _what_is_made_is_used(spec: RunSpec) -> Iterator[Problem]:
    """An instruction or examples that the template does not name would silently never be sent."""
    template = spec.data.prompt_template
    for name in ("instruction", "few_shot"):
        if getattr(spec.data, name) is not None and f"{{{name}}}" not in template:
            fix = f'data.prompt_template = "{{{name}}}\\n\\n{{prompt}}", or leave data.{name} out'
            yield Problem.plain(f"data.{name}", f"is set, and data.prompt_template is {shown(template)}", fix)


@rule("data.path", "data.name")
def _one_source_of_data(spec: RunSpec) -> Iterator[Problem]:
    data = spec.data
    if data.path is None and data.name is None:
        yield Problem.plain(
            "data",
            "has neither path nor name",
            'data.path = "<.jsonl, .json, .csv or .parquet>" or data.name = "<Hub id>"',
        )
    elif data.path is not None and data.name is not None:
        what = f"path is {shown(data.path)} and name is {shown(data.name)}: only one of them"
        yield Problem.plain("data", what, "leave one out; on the command line: --set data.path=")


@rule("data.name", "data.config", "data.eval_split")
def _hub_keys_need_a_hub_dataset(spec: RunSpec) -> Iterator[Problem]:
    for key in ("config", "eval_split"):
        if getattr(spec.data, key) is not None and spec.data.name is None:
            yield Problem.plain(
                f"data.{key}",
                "belongs to a Hub dataset, and data.name is not set",
                f"leave data.{key} out",
            )


@rule("data.eval_path", "data.eval_split", "data.eval_fraction")
def _one_source_of_held_out_rows(spec: RunSpec) -> Iterator[Problem]:
    chosen = [key for key in ("eval_path", "eval_split", "eval_fraction") if getattr(spec.data, key) is not None]
    if len(chosen) > 1:
        keys = " and ".join(f"data.{key}" for key in chosen)
        yield Problem.plain("data", f"{keys} are set: held-out rows come from one of them", f"keep data.{chosen[0]}")


@rule("data.path", "data.eval_path")
def _held_out_rows_are_not_training_rows(spec: RunSpec) -> Iterator[Problem]:
    if spec.data.eval_path is not None and spec.data.eval_path == spec.data.path:
        what = "is the training file: held-out rows must not be trained on"
        yield Problem.plain("data.eval_path", what, "data.eval_fraction = 0.1 in its place")


@rule("data.few_shot", "data.eval_path")
def _held_out_rows_are_not_examples(spec: RunSpec) -> Iterator[Problem]:
    few_shot = spec.data.few_shot
    if few_shot is not None and few_shot.path is not None and few_shot.path == spec.data.eval_path:
        what = "is the held-out file: its answers would be shown to the model that is asked for them"
        yield Problem.plain(
            "data.few_shot.path", what, "another file, or leave it out: examples come from the training rows"
        )


@rule("data.name", "data.split", "data.eval_split")
def _held_out_split_is_not_the_training_split(spec: RunSpec) -> Iterator[Problem]:
    if spec.data.eval_split is not None and spec.data.eval_split == spec.data.split:
        what = f"is {shown(spec.data.split)}, the training split: held-out rows must not be trained on"
        yield Problem.plain("data.eval_split", what, "data.eval_fraction = 0.1 in its place")


@rule("data.eval_path", "data.eval_split", "data.eval_fraction", "eval.eval_steps")
def _evaluation_needs_rows(spec: RunSpec) -> Iterator[Problem]:
    if spec.eval.eval_steps is not None and not spec.data.has_held_out_rows:
        what = f"is {spec.eval.eval_steps}, and there are no held-out rows"
        yield Problem.plain("eval.eval_steps", what, "data.eval_fraction = 0.1, or leave eval.eval_steps out")


@rule("eval.pass_at", "eval.samples", "data.eval_path", "data.eval_split", "data.eval_fraction")
def _samples_hold_every_k(spec: RunSpec) -> Iterator[Problem]:
    if not spec.eval.pass_at:
        return
    if not spec.data.has_held_out_rows:
        yield Problem.plain("eval.pass_at", "needs held-out rows, and there are none", "data.eval_fraction = 0.1")
    if spec.eval.samples is not None and spec.eval.samples < max(spec.eval.pass_at):
        what = f"is {spec.eval.samples}; pass@{max(spec.eval.pass_at)} needs as many answers a row"
        yield Problem.plain("eval.samples", what, f"eval.samples = {max(spec.eval.pass_at)}")


@rule("eval.answers", "data.eval_path", "data.eval_split", "data.eval_fraction")
def _answers_need_rows(spec: RunSpec) -> Iterator[Problem]:
    if spec.eval.answers and not spec.data.has_held_out_rows:
        what = "is true, and there are no held-out rows to answer"
        yield Problem.plain("eval.answers", what, "data.eval_path = FILE, or leave eval.answers out")
