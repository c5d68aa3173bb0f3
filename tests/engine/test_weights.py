"""trainer.engine.weights: NaN and inf in a model's files are named, under NF4 too; a template is tried first."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from tests.builders import tiny_model
from trainer import engine
from trainer.engine import transformers_engine, weights
from trainer.engine.interface import Choice
from trainer.errors import DataError, EngineError, Problem
from trainer.spec import RunSpec

CHOICE = Choice("transformers", "cpu", "float32")
UP = "model.layers.1.mlp.up_proj.weight"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("model")
    model, tokenizer = tiny_model()
    model.save_pretrained(place)
    tokenizer.save_pretrained(place)
    return place


def spec_of(folder: Path, **model: Any) -> RunSpec:
    return RunSpec.model_validate(
        {
            "model": {"name": str(folder), **model},
            "data": {"path": "unused.jsonl"},
            "reward": {"components": [{"function": "exact_match"}]},
        }
    )


@pytest.mark.parametrize("in_4bit", [False, True])
@pytest.mark.parametrize(
    ("name", "place", "value"),
    [(UP, (3, 5), float("nan")), (UP, (0, 0), float("-inf")), ("model.norm.weight", (7,), float("inf"))],
)
def test_weights_that_are_no_numbers_are_named(
    folder: Path, name: str, place: tuple[int, ...], value: float, in_4bit: bool
) -> None:
    stored = load_file(folder / "model.safetensors")
    wrong = {key: tensor.clone() for key, tensor in stored.items()}
    wrong[name][place] = value
    save_file(wrong, folder / "model.safetensors", {"format": "pt"})
    spec = spec_of(folder, load_in_4bit=in_4bit)
    try:
        with pytest.raises(EngineError, match="hold NaN or inf") as error:
            transformers_engine.load(spec, CHOICE, str(folder))
    finally:
        save_file(stored, folder / "model.safetensors", {"format": "pt"})
    (problem,) = error.value.problems
    assert problem.place == "model.name"
    shown = problem.values.get("names") or problem.values["shapes"]
    assert shown == ([" x ".join(map(str, stored[name].shape))] if in_4bit and name == UP else [name])


def test_sound_weights_pass_at_any_size_and_kind() -> None:
    kinds = (torch.float32, torch.bfloat16, torch.float16)
    sound = [(str(kind), torch.full((4, 4), torch.finfo(kind).max, dtype=kind)) for kind in kinds]
    assert weights.unfinite([*sound, ("none", torch.empty(0)), ("bytes", torch.ones(3, dtype=torch.uint8))]) == []


def test_the_scales_of_weights_stored_in_4_bit_are_looked_at(folder: Path) -> None:
    model = transformers_engine.load(spec_of(folder, load_in_4bit=True), CHOICE, str(folder)).model
    state = model.get_parameter(UP).quant_state
    state.state2.absmax[0] = float("nan")
    assert weights.unfinite(model.named_parameters()) == [UP]


def test_the_tokenizer_is_tried_before_weights_are_loaded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transformers_engine, "AutoModelForCausalLM", None)

    def refuse(tokenizer: Any) -> None:
        raise DataError(Problem.plain("", tokenizer.eos_token))

    with pytest.raises(DataError, match="<end>"):
        engine.load(spec_of(folder), CHOICE, trying=refuse)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = None
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", lambda *_, **__: tokenizer)
    with pytest.raises(EngineError, match="has no chat template"):
        engine.load(spec_of(folder), CHOICE)
