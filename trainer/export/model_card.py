"""Model cards: what a README.md beside exported weights says. Text only; nothing is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trainer.export.source import HUB_ID, Source
from trainer.memory.embedded import BUILTIN
from trainer.spec import Method

_METHODS: dict[Method, str] = {
    "grpo": "GRPO",
    "online_rft": "online RFT (right completions reinforced)",
    "sft": "supervised fine-tuning on gold answers",
    "rft": "rejection sampling fine-tuning on its own right completions",
    "dpo": "DPO on pairs of its own completions",
    "reward_model": "a head for one number on judged completions (a reward model)",
}
_JUDGE = "AutoModelForSequenceClassification"


def adapter(source: Source) -> str:
    base = source.shown()
    judges = source.spec.is_reward_model
    kind, labels = (_JUDGE, ", num_labels=1") if judges else ("AutoModelForCausalLM", "")
    lines = [
        *_front(source, "peft"),
        f"# {source.label}: LoRA adapter",
        "",
        _trained(source),
        "",
        "## Load it",
        "",
        *_about_base(source),
        "With PEFT:",
        "",
        "```python",
        "from peft import PeftModel",
        f"from transformers import {kind}, AutoTokenizer",
        "",
        f'base = {kind}.from_pretrained("{_placeholder(base)}"{_revision(source)}{labels})',
        'model = PeftModel.from_pretrained(base, "THIS_FOLDER")',
        'tokenizer = AutoTokenizer.from_pretrained("THIS_FOLDER")',
        "```",
        "",
        "With transformers alone (it needs PEFT installed), the second line becomes:",
        "",
        "```python",
        'base.load_adapter("THIS_FOLDER")',
        "```",
        "",
        *_settings(source),
    ]
    return "\n".join(lines) + "\n"


def _loading(loader: str) -> list[str]:
    """loader: name of the automatic class of transformers that loads the folder."""
    return [
        "## Load it",
        "",
        "```python",
        f"from transformers import {loader}, AutoTokenizer",
        "",
        f'model = {loader}.from_pretrained("THIS_FOLDER", dtype="auto")',
        'tokenizer = AutoTokenizer.from_pretrained("THIS_FOLDER")',
        "```",
        "",
    ]


def merged(source: Source, dtype: str, verified: dict[str, Any], loader: str) -> str:
    lines = [
        *_front(source, "transformers"),
        f"# {source.label}: whole weights in {dtype}",
        "",
        _trained(source),
        "",
        *_loading(loader),
        f"Checked before it was published, on {verified['tokens']} tokens in {verified['sequences']} sequences: ",
        f"logits of the saved weights and of those in memory differ by at most {verified['saved_max_abs_diff']:.2g}; ",
        f"from what was trained, in float32, by at most {verified['trained_max_abs_diff']:.2g}; ",
        f"the most likely token is the same at {verified['top1_agreement']:.2%} of the positions.",
        "",
        *_settings(source),
    ]
    return "\n".join(lines) + "\n"


def judge(source: Source, dtype: str, verified: dict[str, Any]) -> str:
    lines = [
        *_front(source, "transformers"),
        f"# {source.label}: reward model in {dtype}",
        "",
        _trained(source),
        "",
        *_loading(_JUDGE),
        "It scores a prompt with a completion, as tokens behind each other: the prompt by the chat template with "
        "`add_generation_prompt=True`, then the completion up to the token that ends it (`reward_model.json`).",
        "",
        f"Checked before it was published: on {verified['sequences']} sequences scores of the saved weights differ ",
        f"from those in memory by at most {verified['saved_max_abs_diff']:.2g}; "
        f"from what was trained by at most {verified['trained_max_abs_diff']:.2g}.",
        "",
        *_settings(source),
    ]
    return "\n".join(lines) + "\n"


def gguf(source: Source, files: Sequence[str]) -> str:
    lines = [
        *_front(source, "gguf"),
        f"# {source.label}: GGUF",
        "",
        _trained(source),
        "",
        "## Run it",
        "",
        "With Ollama: `ollama create NAME -f Modelfile`, then `ollama run NAME`. "
        f"With llama.cpp: `llama-cli -m {files[0]}`.",
        "The chat template is in the GGUF; both read it there.",
        "",
        "Files: " + ", ".join(f"`{name}`" for name in files),
        "",
        *_settings(source),
    ]
    return "\n".join(lines) + "\n"


def _front(source: Source, library: str) -> list[str]:
    """The metadata block of the Hub. A base that is not on the Hub is not named there: it would be a dead link."""
    base = source.shown()
    named = [f"base_model: {base}"] if _on_hub(base) else []
    return [
        "---",
        *named,
        f"library_name: {library}",
        "tags:",
        f"- {source.spec.run.method.replace('_', '-')}",
        "- trl",
        "---",
        "",
    ]


def _trained(source: Source) -> str:
    how, title = _METHODS[source.spec.run.method], source.spec.title or "no title"
    return f"{source.shown()}, trained with {how} by One-GPU GRPO: {title}."


def _about_base(source: Source) -> list[str]:
    base = source.shown()
    if _on_hub(base):
        return [*_quantised(source)]
    if base.startswith(BUILTIN):
        how = (
            f"The base model {base} is made by One-GPU GRPO on the machine that trains and is on no hub. "
            "Where the run is, `python -m trainer export RUN --to merged` gives the whole model; "
            "`trainer.engine.builtin.ensure(spec)` with the run's spec.json gives the folder of the base."
        )
    else:
        how = f"The base model is the local folder `{base}` of the machine that trained; it is on no hub."
    return [how, "", *_quantised(source)]


def _quantised(source: Source) -> list[str]:
    if not source.spec.model.load_in_4bit:
        return []
    double = source.spec.model.double_quant
    text = (
        "The adapter was trained on the base in 4 bits (NF4"
        f"{' with double quantisation' if double else ''}). On the unquantised base its answers differ a little; "
        "`BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type='nf4', "
        f"bnb_4bit_use_double_quant={double})` gives what was trained."
    )
    return [text, ""]


def _placeholder(base: str) -> str:
    return base if _on_hub(base) else "FOLDER_OF_THE_BASE"


def _revision(source: Source) -> str:
    commit = source.commit()
    return f', revision="{commit}"' if commit else ""


def _on_hub(base: str) -> bool:
    return HUB_ID.fullmatch(base) is not None and not base.startswith(BUILTIN)


def _settings(source: Source) -> list[str]:
    spec = source.spec

    rows: dict[str, Any] = {
        "method": spec.run.method,
        "steps": source.step,
        "reward": spec.reward.formula(),
        "longest completion, tokens": spec.generation.max_completion_length,
        "learning rate": spec.optim.learning_rate,
    }
    if spec.samples_first or not spec.is_supervised:
        rows |= {"completions a prompt": spec.generation.num_generations, "temperature": spec.generation.temperature}
    if spec.run.method == "dpo":
        rows |= {"beta": spec.dpo.beta, "loss": spec.dpo.loss_type}
    elif spec.is_reward_model:
        rows |= {"objective": spec.reward_model.objective}
    elif spec.run.method == "grpo":
        rows |= {"beta": spec.grpo.beta}
    if not spec.is_supervised:
        rows["loss"] = spec.grpo.loss_type
    rows["base in 4 bits"] = spec.model.load_in_4bit
    if source.lora:
        rows |= {"LoRA rank": spec.lora.r, "LoRA alpha": spec.lora.alpha}
    table = [f"| {name} | {value} |" for name, value in rows.items()]
    versions = ", ".join(f"{name} {found}" for name, found in source.manifest.get("versions", {}).items() if found)
    return ["## How it was trained", "", "| setting | value |", "|---|---|", *table, "", f"Versions: {versions}"]
