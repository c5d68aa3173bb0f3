"""trainer.engine.builtin and warm_start: the same seed gives the same weights, once, whoever asks."""

import hashlib
from pathlib import Path

import pytest

from trainer import presets
from trainer.engine import builtin

SHORT = ["model.warm_start.steps=4", "model.warm_start.batch_size=8"]


def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: str, *overrides: str) -> tuple[str, Path]:
    """(sha256 of the weights, folder) of a model made in a cache of its own."""
    monkeypatch.setenv(builtin.CACHE_VARIABLE, str(tmp_path / cache))
    folder = builtin.ensure(presets.load("tiny", [*SHORT, *overrides]))
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest(), folder


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, folder = made(tmp_path, monkeypatch, "a")
    again, same_name = made(tmp_path, monkeypatch, "b")
    other, other_folder = made(tmp_path, monkeypatch, "a", "model.warm_start.seed=1")
    assert first == again
    assert folder.name == same_name.name
    assert first != other
    assert folder.name != other_folder.name


def test_the_cache_is_used_and_what_grpo_changes_does_not_matter_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, folder = made(tmp_path, monkeypatch, "a")
    written = (folder / "model.safetensors").stat().st_mtime_ns
    _, again = made(tmp_path, monkeypatch, "a", "run.seed=9", "optim.learning_rate=1e-5")
    assert again == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == written
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]  # nothing half-made is left


@pytest.mark.parametrize("override", ["data.chat=false", "model.cpu_threads=2", "data.prompt_template=Say: {prompt}"])
def test_what_decides_the_weights_is_part_of_their_name(override: str) -> None:
    assert builtin.cache_key(presets.load("tiny", [override])) != builtin.cache_key(presets.load("tiny"))


def test_the_tokenizer_round_trips_and_keeps_the_answer_tags() -> None:
    tokenizer = builtin.make_tokenizer()
    text = "<answer>edcba</answer>"
    ids = tokenizer(text + tokenizer.eos_token, add_special_tokens=False)["input_ids"]
    assert len(ids) == 1 + 5 + 1 + 1
    assert tokenizer.decode(ids, skip_special_tokens=True) == text
    chat = [{"role": "user", "content": "Reverse: ab"}]
    rendered = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    assert rendered == "<bos><user>Reverse: ab<end><assistant>"
