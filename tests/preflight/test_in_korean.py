"""What preflight, doctor and export refuse, said in Korean: no English sentence besides names, values and commands."""

from __future__ import annotations

import re
import shutil
import sys
from collections import namedtuple
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.preflight.conftest import NAME, Hub, safetensors
from trainer import plan as planning
from trainer.errors import ExportRefused, Problem, TrainerError
from trainer.export import gguf, hub_upload, staging
from trainer.preflight import machine, rewards
from trainer.spec import Component, RunSpec
from trainer.text import Message, words

MakeSpec = Callable[..., RunSpec]
Look = Callable[[RunSpec], list[Problem]]
Usage = namedtuple("Usage", "total used free")
KOREAN = words("ko")
TABLES = ("problem.preflight.", "problem.export.", "preflight.", "doctor.", "export.")
COMMANDS = re.compile(
    r"--[a-z]+(?: [\w./=-]+)?|-m trainer(?: [\w-]+){0,2}|-m (?:uv )?pip install|make setup|hf (?:auth login|download)"
    r"|wandb (?:login|sync)|git (?:clone|lfs pull)|cmake [^)&]+|apt install \w+|du -sh|chown -R"
)
NAMES = re.compile(r"Hugging Face(?: Hub)?|NVIDIA GPU")
SENTENCE = re.compile(r"[A-Za-z']+(?:[ ,]+[A-Za-z']+){2,}")
HANGUL = re.compile("[\uac00-\ud7a3]")


def leaves(value: Any) -> Iterator[str]:
    """Every text among the values of a problem, those of messages in it included."""
    if isinstance(value, Problem | Message):
        yield from leaves(value.values)
    elif isinstance(value, dict):
        yield from leaves(list(value.values()))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from leaves(part)
    elif isinstance(value, str) and value:
        yield value


def without(text: str, values: Iterable[str]) -> str:
    """The text without those values, commands and names."""
    for value in sorted(values, key=len, reverse=True):
        text = text.replace(value, "*")
    return NAMES.sub("*", COMMANDS.sub("*", text))


def assert_korean(problem: Problem) -> None:
    said = problem.said(KOREAN)
    own = str(Problem("plain", said.where.replace(problem.place, "*") or "*", what=said.what, fix=said.fix))
    assert SENTENCE.findall(without(own, leaves(problem))) == []
    assert HANGUL.search(said.what)
    assert problem.key != "plain"
    assert Problem.read(problem.stored()).said(KOREAN) == said


def test_no_text_of_these_rooms_holds_an_english_sentence() -> None:
    ours = sorted(key for key in KOREAN.keys() if key.startswith(TABLES))  # noqa: SIM118
    assert len(ours) > 200
    found = {key: SENTENCE.findall(without(re.sub(r"\{[^}]*\}", "*", KOREAN(key)), [])) for key in ours}
    assert {key: sentences for key, sentences in found.items() if sentences} == {}
    english = words("en")("problem.preflight.cuda_without_gpu.what")
    assert SENTENCE.findall(without(english, []))  # it would be found


@pytest.mark.parametrize(
    ("there", "sections"),
    [
        ({}, {"model": {"device": "cuda"}}),
        ({"unsloth": False, "torchvision": False}, {"model": {"engine": "unsloth"}}),
        ({"unsloth": True, "unsloth_zoo": True, "torchvision": True}, {"model": {"engine": "unsloth"}}),
        ({"vllm": False}, {"trl": {"use_vllm": True}, "lora": {"enabled": False}}),
        ({}, {"model": {"attn_implementation": "flash_attention_2"}}),
        ({"bitsandbytes": False}, {"model": {"load_in_4bit": True}}),
        ({"galore_torch": False}, {"optim": {"optim": "galore_adamw"}}),
        ({}, {"model": {"name": "https://huggingface.co/Qwen/Qwen3-0.6B"}}),
        ({}, {"model": {"name": "s3://bucket/a/b"}}),
        ({}, {"model": {"name": "~/none"}}),
        ({}, {"model": {"name": "/none/at/all"}}),
        ({}, {"model": {"name": "x/model.gguf"}}),
        ({}, {"model": {"name": "a b/c"}}),
        ({}, {"model": {"name": NAME}}),
        ({}, {"model": {"name": NAME, "revision": "v1"}}),
    ],
)
def test_what_a_machine_lacks(
    make_spec: MakeSpec,
    look: Look,
    packages: Callable[..., None],
    there: dict[str, bool],
    sections: dict[str, Any],
) -> None:
    packages(**there)
    found = look(make_spec(**sections))
    assert found
    for problem in found:
        assert_korean(problem)


@pytest.mark.parametrize(
    "changes",
    [
        {"config.json": None},
        {"config.json": b"[1]"},
        {"config.json": None, "adapter_config.json": {"base_model_name_or_path": "Qwen/Qwen3-4B"}},
        {"config.json": None, "x.gguf": b"GGUF"},
        {"config.json": None, "model_index.json": {}},
        {"model.safetensors": None},
        {"model.safetensors": safetensors()[:30]},
        {"tokenizer.json": None},
    ],
)
def test_what_a_folder_lacks(
    make_spec: MakeSpec, make_model: Callable[..., Path], look: Look, changes: dict[str, Any]
) -> None:
    (found,) = look(make_spec(model={"name": str(make_model(**changes))}))
    assert_korean(found)


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (404, "RepoNotFound", ""),
        (401, "GatedRepo", ""),
        (403, "", "no rights to read this"),
        (403, "", "Access to this resource is disabled."),
        (429, "", ""),
        (503, "", ""),
    ],
)
def test_what_the_hub_refuses(hub: Hub, make_spec: MakeSpec, look: Look, status: int, code: str, message: str) -> None:
    hub.refuse(status, code, message)
    (found,) = look(make_spec(model={"name": NAME}))
    assert_korean(found)


def test_memory_disks_and_rewards(make_spec: MakeSpec, look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, 0))
    monkeypatch.setattr(machine, "ram_gib", lambda: 0.001)
    spec = make_spec()
    assert planning.make(spec, rows=100).memory_total_gib
    judge = {"model": "m", "base_url": "https://api.example.com/v1", "prompt": "{completion}", "api_key_env": "NO_KEY"}
    parts = [
        Component(function="llm_judge", params=judge),
        Component(function="bertscore", params={"encoder": "/none"}),
    ]
    judged = spec.model_copy(update={"reward": spec.reward.model_copy(update={"components": parts})})
    found = [*look(spec), *rewards.problems(judged)]
    assert [problem.key.partition(".")[2] for problem in found] == [
        *("ram", "no_room_for_checkpoints", "no_judge_key", "no_reward_model"),
    ]
    for problem in found:
        assert_korean(problem)


def refusals(folder: Path) -> dict[str, Callable[[], Any]]:
    """{what is tried: a call that an export refuses}."""
    return {
        "no repository": lambda: hub_upload.prepare(None),
        "not a repository": lambda: hub_upload.prepare("name"),
        "a repository nobody can have": lambda: hub_upload.prepare("a b/c"),
        "an unknown quantisation": lambda: gguf._checked(["q9"]),
        "no tools": lambda: gguf.find_tools(("q4_k_m",)),
        "a tool that does not start": lambda: (
            (folder / gguf.CONVERTER).write_text("import no_such"),
            gguf.find_tools(()),
        ),
        "a tool that fails": lambda: gguf._call([sys.executable, "-c", "raise SystemExit('Qwen9 is not supported')"]),
        "no tensors": lambda: gguf._check_header(folder / "none.gguf"),
        "a target that is taken": lambda: staging.refuse_taken(folder),
        "a full disk": lambda: staging.need_room(folder / "x", 2**80),
    }


@pytest.mark.parametrize("tried", refusals(Path()))
def test_what_an_export_refuses(tried: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    for name in ("LLAMA_CPP", "PATH", "UNSLOTH_LLAMA_CPP_PATH"):
        monkeypatch.setenv(name, str(tmp_path))
    with pytest.raises(TrainerError) as raised:
        refusals(tmp_path)[tried]()
    assert isinstance(raised.value, ExportRefused) is (tried not in ("a tool that fails", "no tensors"))
    for problem in raised.value.problems:
        assert_korean(problem)
