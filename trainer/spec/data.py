"""The section `data`: rows, and how they become prompts."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from trainer.spec.section import Section


class Instruction(Section):
    """A text by the type of a row: it becomes the row's column `instruction`, for the prompt template."""

    by: str
    """Column that names the type."""
    path: str | None = None
    """JSON file of texts, `{"prompt": "for all", "TYPE_prompt": "for one", ...}`; they win over those of `texts`."""
    texts: Annotated[dict[str, str], Field(min_length=1)]
    """Text of each type; a row of another type is refused."""


class FewShot(Section):
    """Worked examples put before a question, drawn for each row with the run's seed and never the row itself.

    They become the row's column `few_shot`, for the prompt template.
    """

    path: str | None = None
    """File of the examples; empty draws them from the training rows."""
    count: Annotated[int, Field(ge=1, le=64)] = 2
    """Examples a row gets."""
    by: str | None = None
    """Column that names the type: examples are of the row's own type. Empty draws from all."""
    template: str = "{prompt}\n{answer}"
    """Text of one example; `{column}` is replaced."""
    separator: str = "\n\n"
    """What stands between two examples."""


class Data(Section):
    """Rows with a prompt and whatever columns the rewards read."""

    path: str | None = None
    """Local file: .jsonl, .json, .csv, .tsv or .parquet. One of `path`, `name` and `task`."""
    name: str | None = None
    """Dataset id on the Hub."""
    task: str | None = None
    """Rows made here by a generator, `reasoning_gym:chain_sum`: `python -m trainer tasks` lists them."""
    task_params: dict[str, Any] = Field(default_factory=dict)
    """The generator's own parameters, such as how hard the rows are: `python -m trainer tasks NAME` lists them."""
    task_size: Annotated[int, Field(ge=1, le=100_000)] = 500
    """Rows that `task` makes, the same for the same run.seed."""
    config: str | None = None
    """Configuration of the Hub dataset (`main` for GSM8K)."""
    split: str = "train"
    """Split of the Hub dataset."""
    encoding: str | None = None
    """Encoding of text files that are not UTF-8, such as cp949 or cp1252; UTF-16 with its mark needs none."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Rename columns: ours = theirs, e.g. prompt = "question"; dots lead into objects: "reward_model.ground_truth"."""
    prompt_template: str = "{prompt}"
    """Text of the user's message; `{column}` is replaced."""
    instruction: Instruction | None = None
    """A text by the type of a row, `{instruction}` in the prompt template."""
    few_shot: FewShot | None = None
    """Worked examples before the question, `{few_shot}` in the prompt template."""
    system_prompt: str | None = None
    """System message put before every prompt."""
    chat: bool = True
    """Send prompts through the model's chat template; false sends plain text."""
    max_rows: Annotated[int, Field(ge=1)] | None = None
    """Take only the first rows; empty takes all."""
    eval_path: str | None = None
    """Held-out file, as `path`. Either `eval_path`, `eval_split` or `eval_fraction`."""
    eval_split: str | None = None
    """Held-out split of the Hub dataset."""
    eval_fraction: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Share of the rows held out, the same rows for the same seed."""
    max_prompt_length: Annotated[int, Field(ge=1)] = 512
    """Tokens a rendered prompt may have."""
    overlong: Literal["drop", "cut", "error"] = "drop"
    """Longer prompts: left out, cut at the start of the user's text, or refused. Counted in every case."""
    leaks: Literal["error", "warn", "drop"] = "error"
    """Held-out rows whose prompt is also trained on: refused, warned of, or left out of the training rows."""
    shuffle_dataset: bool = True
    """Another order in every epoch, the same for the same seed."""

    @property
    def has_held_out_rows(self) -> bool:
        return any(value is not None for value in (self.eval_path, self.eval_split, self.eval_fraction))
