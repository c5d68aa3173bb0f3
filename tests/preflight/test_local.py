"""A model that is a folder: whole or not, trainable or not, near to what was typed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.preflight.conftest import CONFIG, safetensors
from trainer.errors import Problem
from trainer.machine.project import PROJECT
from trainer.preflight import local, repo_id
from trainer.spec import RunSpec

MakeSpec = Callable[..., RunSpec]
MakeModel = Callable[..., Path]
Look = Callable[[RunSpec], list[Problem]]
INDEX = "model.safetensors.index.json"
PARTS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


def in_parts(**changes: Any) -> dict[str, Any]:
    """Files of a model whose weights are in two parts."""
    index = {"weight_map": {"a": PARTS[0], "b": PARTS[1]}}
    return {"model.safetensors": None, INDEX: index, **dict.fromkeys(PARTS, safetensors()), **changes}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        in_parts(),
        {"model.safetensors": None, "pytorch_model.bin": b"PK"},
        {"tokenizer.json": None, "tokenizer.model": b"x"},
        {"tokenizer.json": None, "vocab.json": {}},
    ],
)
def test_a_whole_folder_passes_quickly(
    make_spec: MakeSpec, make_model: MakeModel, look: Look, changes: dict[str, Any]
) -> None:
    spec = make_spec(model={"name": str(make_model(**changes))})
    look(spec)
    started = time.perf_counter()
    assert look(spec) == []
    assert time.perf_counter() - started < 0.2


@pytest.mark.parametrize(
    ("changes", "what", "fix"),
    [
        ({"config.json": None}, "has no config.json", "save_pretrained"),
        ({"config.json": b"{not json"}, "config.json that is not a JSON object", "fetch the file again"),
        ({"config.json": b"[1]"}, "config.json that is not a JSON object", "fetch the file again"),
        ({"config.json": b"\xff\xfe"}, "config.json that is not a JSON object", "fetch the file again"),
        (
            {"config.json": None, "adapter_config.json": {"base_model_name_or_path": "Qwen/Qwen3-4B"}},
            "is an adapter (of Qwen/Qwen3-4B), not a base model",
            "--set model.name=Qwen/Qwen3-4B",
        ),
        ({"config.json": None, "adapter_config.json": {}}, "is an adapter, not a base model", "--set model.name="),
        ({"config.json": None, "adapter_config.json": b"{"}, "is an adapter, not a base model", "--set model.name="),
        ({"config.json": None, "x-Q4_K.gguf": b"GGUF"}, "GGUF files, which cannot be trained", "*.safetensors"),
        ({"model.safetensors": None, "x.gguf": b"GGUF"}, "weights as GGUF only", "*.safetensors"),
        ({"config.json": None, "model_index.json": {}}, "a diffusion pipeline", "language model"),
        ({"model.safetensors": None}, f"has no weights (model.safetensors or {INDEX})", "*.safetensors"),
        (in_parts(**{INDEX: None}), f"has weights in parts and no {INDEX}", f"fetch {INDEX}"),
        (in_parts(**{PARTS[1]: None}), f"has 2 parts, and these are missing: {PARTS[1]}", "fetch what is missing"),
        (
            in_parts(**dict.fromkeys(PARTS)),
            f"has 2 parts, and these are missing: {PARTS[0]} and 1 more",
            "fetch what is missing",
        ),
        (in_parts(**{INDEX: {"weight_map": {}}}), f"{INDEX} that names no weights", "fetch the file again"),
        (in_parts(**{INDEX: b"{"}), f"{INDEX} that names no weights", "fetch the file again"),
        (in_parts(**{PARTS[0]: safetensors()[:-1]}), f"cut short or not weights: {PARTS[0]}", "git lfs pull"),
        ({"model.safetensors": b""}, "cut short or not weights: model.safetensors", "git lfs pull"),
        ({"model.safetensors": safetensors()[:30]}, "cut short or not weights: model.safetensors", "git lfs pull"),
        ({"model.safetensors": b"version https://git-lfs.github.com/spec/v1\n"}, "cut short or not", "git lfs pull"),
        ({"tokenizer.json": None}, "has no tokenizer", "tokenizer.json"),
    ],
)
def test_what_can_not_be_loaded_is_named(
    make_spec: MakeSpec, make_model: MakeModel, look: Look, changes: dict[str, Any], what: str, fix: str
) -> None:
    folder = make_model(**changes)
    [found] = look(make_spec(model={"name": str(folder)}))
    assert found.where == "model.name"
    assert f'the folder "{folder}"' in found.what
    assert what in found.what
    assert fix in found.fix


def test_a_tokenizer_may_come_as_code_that_is_trusted(make_spec: MakeSpec, make_model: MakeModel, look: Look) -> None:
    name = str(make_model(**{"tokenizer.json": None}))
    assert look(make_spec(model={"name": name, "trust_remote_code": True})) == []


def test_a_folder_that_is_not_there_names_the_nearest(make_spec: MakeSpec, make_model: MakeModel, look: Look) -> None:
    folder = make_model("qwen3-small")
    [found] = look(make_spec(model={"name": str(folder.parent / "qwen3-smal")}))
    assert found.what.startswith("there is no folder")
    assert found.fix.split(" (")[0] == f"--set model.name={folder}"
    [found] = look(make_spec(model={"name": str(folder / "no" / "such")}))
    assert f"{folder} is there" in found.fix


def test_only_folders_of_models_are_proposed(make_spec: MakeSpec, tmp_path: Path, look: Look) -> None:
    (tmp_path / "qwen3-notes").mkdir()
    (tmp_path / "qwen3.txt").touch()
    for name in ("qwen3-note", "qwen3.txt", "other"):
        [found] = look(make_spec(model={"name": str(tmp_path / name)}))
        assert "--set" not in found.fix
        assert "the folder of a model holds config.json" in found.fix
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / INDEX).touch()
    [found] = look(make_spec(model={"name": str(tmp_path / "qwen3-note")}))
    assert found.fix == f"--set model.name={tmp_path / 'weights'}"


def test_a_folder_seen_from_here_is_proposed_if_it_is_a_models(
    make_spec: MakeSpec, tmp_path: Path, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notes").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("./notes", "~/notes"):
        [found] = look(make_spec(model={"name": name}))
        assert "--set" not in found.fix


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("https://huggingface.co/Qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B"),
        ("https://huggingface.co/Qwen/Qwen3-0.6B/tree/main?x=1", "Qwen/Qwen3-0.6B"),
        ("http://www.huggingface.co/Qwen/Qwen3.git", "Qwen/Qwen3"),
        ("hf.co/Qwen/Qwen3", "Qwen/Qwen3"),
        ("huggingface.co/gpt2", "gpt2"),
        ("hf://models/a/b", "a/b"),
        ("https://huggingface.co/datasets/a/b", None),
        ("https://huggingface.co/", None),
        ("s3://bucket/a/b", None),
        ("file:///models/x", None),
    ],
)
def test_an_address_is_told_and_one_of_the_hub_made_an_id(
    make_spec: MakeSpec, look: Look, name: str, model: str | None
) -> None:
    [found] = look(make_spec(model={"name": name}))
    assert found.what == f'is "{name}", an address: it takes a Hub id (owner/model) or a folder on this machine'
    assert found.fix == f"--set model.name={model}" if model else "for example" in found.fix


def test_a_long_name_is_shown_with_its_start_and_its_end() -> None:
    assert repo_id.short("a" * repo_id.LONGEST) == "a" * repo_id.LONGEST
    cut = repo_id.short("start" + "-" * 5000 + "end")
    assert (len(cut), cut[:5], cut[-3:]) == (repo_id.LONGEST, "start", "end")


def test_paths_that_mean_something_else_here_are_told(
    make_spec: MakeSpec, make_model: MakeModel, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_model("mine")
    monkeypatch.chdir(folder.parent)
    monkeypatch.setenv("HOME", str(folder.parent))
    for name in ("./mine", "~/mine"):
        [found] = look(make_spec(model={"name": name}))
        assert found.fix == f"--set model.name={folder}"
    [found] = look(make_spec(model={"name": "~/yours"}))
    assert "is not there" in found.what
    [found] = look(make_spec(model={"name": str(folder / "config.json")}))
    assert (found.what.split('"')[2], found.fix) == (
        " is a file, not the folder of a model",
        f"--set model.name={folder}",
    )
    [found] = look(make_spec(model={"name": str(folder / "model-Q4.gguf")}))
    assert "GGUF file" in found.what


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("Qwen/Qwen3-0.6B", False),
        ("gpt2", False),
        ("/models/x", True),
        ("./x", True),
        ("../x", True),
        ("~/x", True),
        ("a/b/c", True),
        ("models\\x", True),
        ("D:/x", True),
        ("trainer", True),  # there is such a folder where a run looks
        ("x/model.gguf", True),
    ],
)
def test_paths_and_hub_ids_are_told_apart(make_spec: MakeSpec, look: Look, name: str, folder: bool) -> None:
    assert (PROJECT / "trainer").is_dir()
    assert local.is_folder(name) is folder
    assert len(look(make_spec(model={"name": name}))) == 1


def test_a_name_no_file_can_have_is_told(make_spec: MakeSpec) -> None:
    assert not local.is_folder("n" * 5000)
    [found] = local.problems(make_spec(model={"name": "/" + "n" * 5000}), has_gpu=False)
    assert found.what.startswith("there is no folder")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_closed_folder_is_told(make_spec: MakeSpec, make_model: MakeModel) -> None:
    folder = make_model()
    folder.chmod(0)
    try:
        [found] = local.problems(make_spec(model={"name": str(folder)}), has_gpu=False)
    finally:
        folder.chmod(0o700)
    assert "cannot be read" in found.what


# ---- quantised elsewhere


def stored(method: str, **values: Any) -> dict[str, Any]:
    return CONFIG | {"quantization_config": {"quant_method": method, **values}}


def test_bitsandbytes_weights_are_trained_with_adapters(make_spec: MakeSpec, make_model: MakeModel, look: Look) -> None:
    name = str(make_model(**{"config.json": stored("bitsandbytes", load_in_4bit=True)}))
    for four_bit in (True, False):
        assert look(make_spec(model={"name": name, "load_in_4bit": four_bit})) == []
    [found] = look(make_spec(model={"name": name}, lora={"enabled": False}))
    assert (found.where, found.fix) == ("lora.enabled", "--set lora.enabled=true")


@pytest.mark.parametrize("method", ["gptq", "awq"])
def test_gptq_and_awq_need_their_package_and_no_second_quantisation(
    make_spec: MakeSpec, make_model: MakeModel, packages: Callable[..., None], look: Look, method: str
) -> None:
    name = str(make_model(**{"config.json": stored(method, bits=4)}))
    packages(gptqmodel=True, optimum=True)
    assert look(make_spec(model={"name": name})) == []
    [found] = look(make_spec(model={"name": name, "load_in_4bit": True}))
    assert (found.where, found.fix) == ("model.load_in_4bit", "--set model.load_in_4bit=false")
    packages(gptqmodel=False, optimum=True)
    [found] = look(make_spec(model={"name": name}))
    assert "which needs gptqmodel: not installed" in found.what


@pytest.mark.parametrize("method", ["fp8", "mxfp4", "compressed-tensors", "something-new"])
def test_what_is_not_known_to_fail_is_not_refused(
    make_spec: MakeSpec, make_model: MakeModel, look: Look, method: str
) -> None:
    assert look(make_spec(model={"name": str(make_model(**{"config.json": stored(method)}))})) == []
