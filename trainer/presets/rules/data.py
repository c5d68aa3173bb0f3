"""Rules of the data and of what is done with held-out rows."""

from __future__ import annotations

import codecs
import string
from collections.abc import Iterator

from trainer.errors import Problem
from trainer.presets.explain import nearest, shown
from trainer.presets.rules.registry import rule
from trainer.spec import RunSpec
from trainer.spec.choices import ENCODINGS
from trainer.text.chain import chain


@rule("data.prompt_template", "data.few_shot", "model.warm_start", "run.method", "sft.completion_template")
def _templates_are_readable(spec: RunSpec) -> Iterator[Problem]:
    templates = {"data.prompt_template": spec.data.prompt_template}
    if spec.data.few_shot is not None:
        templates["data.few_shot.template"] = spec.data.few_shot.template
    if spec.model.warm_start is not None:
        templates["model.warm_start.completion_template"] = spec.model.warm_start.completion_template
    if spec.run.method == "sft":
        own = spec.sft.completion_template
        templates |= {"sft.completion_template": own} if own is not None else {}
    for key, template in templates.items():
        try:
            fields = [part[1:] for part in string.Formatter().parse(template) if part[1] is not None]
        except ValueError as error:
            yield Problem("presets.template_unreadable", key, seen=shown(template), said=str(error), key=key)
            continue
        if not fields:
            yield Problem("presets.template_without_column", key, seen=shown(template), key=key)
        for name, width, conversion in fields:
            if not name or name.isdigit() or not name.isidentifier() or width or conversion:
                yield Problem("presets.template_field", key, seen=shown(template), field=f"{{{name}}}", key=key)


@rule("data.prompt_template", "data.instruction", "data.few_shot")
def _what_is_made_is_used(spec: RunSpec) -> Iterator[Problem]:
    """An instruction or examples that the template does not name would silently never be sent."""
    template = spec.data.prompt_template
    for name in ("instruction", "few_shot"):
        if getattr(spec.data, name) is not None and f"{{{name}}}" not in template:
            yield Problem("presets.made_but_not_sent", f"data.{name}", template=shown(template), name=name)


@rule("data.encoding")
def _encoding_is_known(spec: RunSpec) -> Iterator[Problem]:
    name = spec.data.encoding
    if name is None:
        return
    try:
        codecs.getincrementaldecoder(name)().decode(b"a").encode()
    except (LookupError, ValueError, TypeError, AttributeError):
        near = nearest(name, ENCODINGS) or ENCODINGS
        yield Problem("presets.no_encoding", "data.encoding", seen=shown(name), known=list(near))


@rule("data.path", "data.name")
def _one_source_of_data(spec: RunSpec) -> Iterator[Problem]:
    data = spec.data
    if data.path is None and data.name is None:
        yield Problem("presets.no_data", "data")
    elif data.path is not None and data.name is not None:
        yield Problem("presets.two_sources", "data", path=shown(data.path), name=shown(data.name))


@rule("data.name", "data.config", "data.eval_split")
def _hub_keys_need_a_hub_dataset(spec: RunSpec) -> Iterator[Problem]:
    for key in ("config", "eval_split"):
        if getattr(spec.data, key) is not None and spec.data.name is None:
            yield Problem("presets.hub_key_without_hub", f"data.{key}", key=f"data.{key}")


@rule("data.eval_path", "data.eval_split", "data.eval_fraction")
def _one_source_of_held_out_rows(spec: RunSpec) -> Iterator[Problem]:
    chosen = [key for key in ("eval_path", "eval_split", "eval_fraction") if getattr(spec.data, key) is not None]
    if len(chosen) > 1:
        keys = [f"data.{key}" for key in chosen]
        yield Problem(
            "presets.two_sources_of_held_out_rows", "data", keys=chain("presets.fix.and", keys), first=keys[0]
        )


@rule("data.path", "data.eval_path")
def _held_out_rows_are_not_training_rows(spec: RunSpec) -> Iterator[Problem]:
    if spec.data.eval_path is not None and spec.data.eval_path == spec.data.path:
        yield Problem("presets.held_out_file_is_trained_on", "data.eval_path")


@rule("data.few_shot", "data.eval_path")
def _held_out_rows_are_not_examples(spec: RunSpec) -> Iterator[Problem]:
    few_shot = spec.data.few_shot
    if few_shot is not None and few_shot.path is not None and few_shot.path == spec.data.eval_path:
        yield Problem("presets.examples_are_held_out", "data.few_shot.path")


@rule("data.name", "data.split", "data.eval_split")
def _held_out_split_is_not_the_training_split(spec: RunSpec) -> Iterator[Problem]:
    if spec.data.eval_split is not None and spec.data.eval_split == spec.data.split:
        yield Problem("presets.held_out_split_is_trained_on", "data.eval_split", split=shown(spec.data.split))


@rule("eval.pass_at", "eval.samples", "data.eval_path", "data.eval_split", "data.eval_fraction")
def _samples_hold_every_k(spec: RunSpec) -> Iterator[Problem]:
    if not spec.eval.pass_at:
        return
    if not spec.data.has_held_out_rows:
        yield Problem("presets.pass_at_without_rows", "eval.pass_at")
    if spec.eval.samples is not None and spec.eval.samples < max(spec.eval.pass_at):
        yield Problem("presets.few_samples", "eval.samples", samples=spec.eval.samples, k=max(spec.eval.pass_at))


@rule("eval.answers", "data.eval_path", "data.eval_split", "data.eval_fraction")
def _answers_need_rows(spec: RunSpec) -> Iterator[Problem]:
    if spec.eval.answers and not spec.data.has_held_out_rows:
        yield Problem("presets.answers_without_rows", "eval.answers")
