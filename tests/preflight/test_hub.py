"""A model that is a Hub id: the cache, and one look at a Hub that answers in every way it can."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.preflight.conftest import CONFIG, NAME, Hub, online
from trainer.errors import Problem
from trainer.preflight import hub as hub_room
from trainer.spec import RunSpec
from trainer.text import Message

MakeSpec = Callable[..., RunSpec]
Look = Callable[[RunSpec], list[Problem]]
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def spec(spec: RunSpec) -> RunSpec:
    return spec.model_copy(update={"model": spec.model.model_copy(update={"name": NAME})})


def test_a_whole_repository_passes_after_one_question(hub: Hub, spec: RunSpec, look: Look) -> None:
    hub.model()
    assert look(spec) == []
    assert hub.asked == [f"/api/models/{NAME}"]


@pytest.mark.parametrize(
    ("status", "code", "message", "what", "fix"),
    [
        (404, "RepoNotFound", "", "on the Hub, or it is private and no token is set", "check the spelling"),
        (401, "RepoNotFound", "", "on the Hub, or it is private and no token is set", "hf auth login"),
        (401, "", "Invalid username or password.", "there is no", "hf auth login"),
        (401, "GatedRepo", "", "is gated, and no token is set here", f"/{NAME}, then .venv/bin/hf auth login"),
        (403, "GatedRepo", "", "is gated, and no token is set here", "accept its terms"),
        (403, "", "no rights", "refuses to give", "hf auth login"),
        (403, "", "Access to this resource is disabled.", "has disabled", "another model"),
    ],
)
def test_a_refusal_is_told_apart(
    hub: Hub, spec: RunSpec, look: Look, status: int, code: str, message: str, what: str, fix: str
) -> None:
    hub.refuse(status, code, message)
    [found] = look(spec)
    assert found.where == "model.name"
    assert NAME in found.what
    assert what in found.what
    assert fix in found.fix


def test_an_answer_that_tells_nothing_is_left_to_the_worker(hub: Hub, spec: RunSpec, look: Look) -> None:
    hub.refuse(404)
    assert look(spec) == []


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_hub_that_answers_with_its_own_error_is_refused_unless_the_cache_has_all(
    hub: Hub, spec: RunSpec, look: Look, make_cached: Callable[..., Path], status: int
) -> None:
    hub.refuse(status)
    [found] = look(spec)
    assert found.what.startswith(f'"{NAME}" is not in the local cache, and the Hub (http://127.0.0.1:')
    assert f") answers {status}" in found.what
    assert found.fix.startswith("try again later")
    assert ("hf auth login" in found.fix) == (status == 429)
    make_cached(NAME)
    assert look(spec) == []


def test_a_repository_that_was_renamed_is_followed(hub: Hub, make_spec: MakeSpec, look: Look) -> None:
    hub.model()
    hub.answers["/api/models/old/name"] = (307, {"Location": f"/api/models/{NAME}"}, {})
    assert look(make_spec(model={"name": "old/name"})) == []
    assert hub.asked == ["/api/models/old/name", f"/api/models/{NAME}"]


def test_a_token_is_used_and_named_when_it_does_not_do(
    hub: Hub, spec: RunSpec, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_of_a_test")
    hub.refuse(403, "GatedRepo")
    [found] = look(spec)
    assert "the token here has no access" in found.what
    assert hub.tokens == ["Bearer hf_of_a_test"]
    hub.refuse(404, "RepoNotFound")
    [found] = look(spec)
    assert "the token here may not read it" in found.what
    hub.refuse(401, "", "Invalid credentials in Authorization header")
    [found] = look(spec)
    assert "does not accept the token" in found.what
    assert "hf_of_a_test" not in str(found)


def test_a_gated_repository_that_may_be_listed_is_asked_about_twice(hub: Hub, spec: RunSpec, look: Look) -> None:
    hub.model(gated="manual")
    check = f"/api/models/{NAME}/auth-check"
    hub.refuse(401, "GatedRepo", path=check)
    [found] = look(spec)
    assert "is gated, and no token is set here" in found.what
    hub.answers[check] = (200, {}, {})
    assert look(spec) == []
    assert hub.asked[-1] == check


def test_a_revision_that_is_not_there_is_told(hub: Hub, make_spec: MakeSpec, look: Look) -> None:
    hub.model()
    hub.refuse(404, "RevisionNotFound", path=f"/api/models/{NAME}/revision/v9")
    [found] = look(make_spec(model={"name": NAME, "revision": "v9"}))
    assert str(found) == (
        f'model.revision: is "v9", which "{NAME}" does not have  ->  --set model.revision= takes the newest'
    )


@pytest.mark.parametrize(
    ("files", "more", "what", "fix"),
    [
        (
            ["adapter_config.json", "adapter_model.safetensors"],
            {"config": {"peft": {"base_model_name_or_path": "Qwen/Qwen3-4B"}}},
            "is an adapter (of Qwen/Qwen3-4B), not a base model",
            "--set model.name=Qwen/Qwen3-4B",
        ),
        (
            ["adapter_config.json"],
            {"cardData": {"base_model": ["Qwen/Qwen3-8B"]}},
            "is an adapter (of Qwen/Qwen3-8B)",
            "--set model.name=Qwen/Qwen3-8B",
        ),
        (["README.md", "model-Q4_K_M.gguf"], {}, "GGUF files, which cannot be trained", "*.safetensors"),
        (["config.json", "model-Q8.gguf"], {}, "weights as GGUF only", "*.safetensors"),
        (["model_index.json", "unet/x.safetensors"], {}, "a diffusion pipeline", "language model"),
        (["README.md"], {}, "has no config.json", "repository"),
        (["config.json", "model.safetensors"], {}, "has no tokenizer", "tokenizer.json"),
    ],
)
def test_a_repository_that_can_not_be_trained_is_told(
    hub: Hub, spec: RunSpec, look: Look, files: list[str], more: dict[str, Any], what: str, fix: str
) -> None:
    hub.model(dict.fromkeys(files, 10), **more)
    [found] = look(spec)
    assert f'"{NAME}" on the Hub' in found.what
    assert what in found.what
    assert fix in found.fix


def test_quantised_weights_on_the_hub_are_known(
    hub: Hub, make_spec: MakeSpec, look: Look, packages: Callable[..., None]
) -> None:
    packages(gptqmodel=True, optimum=True)
    hub.model(config={"quantization_config": {"quant_method": "gptq"}})
    [found] = look(make_spec(model={"name": NAME, "load_in_4bit": True}))
    assert found.where == "model.load_in_4bit"


@pytest.mark.parametrize("name", ["a b/c", "-x/y", "x/y--z", "x/y.git", "x/.."])
def test_what_can_be_no_id_is_told_without_asking(hub: Hub, make_spec: MakeSpec, look: Look, name: str) -> None:
    [found] = look(make_spec(model={"name": name}))
    assert "neither a Hub id (owner/model) nor a folder" in found.what
    assert hub.asked == []


# ---- the cache


def test_a_whole_copy_in_the_cache_needs_no_hub(
    hub: Hub, spec: RunSpec, look: Look, make_cached: Callable[..., Path], make_spec: MakeSpec
) -> None:
    make_cached(NAME, "c0ffee")
    started = time.perf_counter()
    assert look(spec) == []
    assert time.perf_counter() - started < 0.2
    assert look(make_spec(model={"name": NAME, "revision": "c0ffee"})) == []
    assert hub.asked == []
    hub.refuse(404, "RevisionNotFound", path=f"/api/models/{NAME}/revision/other")
    assert len(look(make_spec(model={"name": NAME, "revision": "other"}))) == 1


def test_a_part_of_a_copy_is_completed_from_the_hub(
    hub: Hub, spec: RunSpec, look: Look, make_cached: Callable[..., Path]
) -> None:
    make_cached(NAME, **{"model.safetensors": None})
    hub.model()
    assert look(spec) == []
    assert hub.asked


def test_what_is_whole_and_can_not_be_trained_is_told_without_asking(
    hub: Hub, make_spec: MakeSpec, look: Look, make_cached: Callable[..., Path]
) -> None:
    quantised = CONFIG | {"quantization_config": {"load_in_4bit": True}}
    make_cached(NAME, **{"config.json": quantised})
    [found] = look(make_spec(model={"name": NAME}, lora={"enabled": False}))
    assert (found.where, hub.asked) == ("lora.enabled", [])


@pytest.mark.parametrize("missing", [None, "model.safetensors"])
def test_offline_and_not_in_the_cache_is_told(
    spec: RunSpec, make_spec: MakeSpec, look: Look, make_cached: Callable[..., Path], missing: str | None
) -> None:
    if missing:
        make_cached(NAME, **{missing: None})
    [found] = look(spec)
    assert "HF_HUB_OFFLINE keeps this off the network" in found.what
    assert (missing or "is not in the local cache") in found.what
    assert found.fix == f"unset HF_HUB_OFFLINE, or with a network: .venv/bin/hf download {NAME}"
    [found] = look(make_spec(model={"name": NAME, "revision": "v1"}))
    assert found.fix.endswith("--revision v1")


def test_unsloth_may_take_its_own_copy_of_a_model(
    hub: Hub, make_spec: MakeSpec, look: Look, with_gpu: None, packages: Callable[..., None], tmp_path: Path
) -> None:
    packages(unsloth=True, unsloth_zoo=True, torchvision=True)
    hub.refuse(403, "GatedRepo")
    assert look(make_spec(model={"name": NAME, "engine": "unsloth"})) == []
    assert len(look(make_spec(model={"name": NAME, "engine": "transformers"}))) == 1
    hub.refuse(404, "RepoNotFound")
    assert len(look(make_spec(model={"name": NAME, "engine": "unsloth"}))) == 1
    huge = {"config.json": 1, "tokenizer.json": 1, "model.safetensors": 2**60}
    hub.model(huge)
    assert look(make_spec(model={"name": NAME, "engine": "unsloth"})) == []
    assert "to download" in str(*look(make_spec(model={"name": NAME, "engine": "transformers"})))
    (tmp_path / "hf/hub/models--unsloth--model-unsloth-bnb-4bit").mkdir(parents=True)
    hub.refuse(404, "RepoNotFound")
    assert look(make_spec(model={"name": NAME, "engine": "unsloth"})) == []


# ---- no Hub


def test_nobody_there_is_told_at_once(
    spec: RunSpec, look: Look, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    online(monkeypatch, tmp_path, f"http://127.0.0.1:{port}")
    started = time.monotonic()
    [found] = look(spec)
    assert "is not in the local cache" in found.what
    assert f"127.0.0.1:{port} cannot be reached (ConnectError)" in found.what
    assert time.monotonic() - started < 2


def test_silence_ends_in_time_and_is_left_to_the_worker(
    spec: RunSpec, look: Look, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(hub_room, "REQUEST_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes the connection, says nothing
        online(monkeypatch, tmp_path, f"http://127.0.0.1:{silent.getsockname()[1]}")
        started = time.monotonic()
        assert look(spec) == []
    assert time.monotonic() - started < 2


def test_an_address_that_is_searched_for_ever_ends_in_time(
    spec: RunSpec, look: Look, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    released = threading.Event()

    def search(*_: Any, **__: Any) -> Any:
        released.wait(10)
        raise OSError("no such host")

    online(monkeypatch, tmp_path, "http://hub.example.invalid")
    monkeypatch.setattr(hub_room, "TOTAL_S", 0.3)
    monkeypatch.setattr(socket, "getaddrinfo", search)
    started = time.monotonic()
    try:
        assert look(spec) == []
    finally:
        released.set()
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("body", [b"<html>log in to the hotel</html>", b"[]"])
def test_a_page_in_place_of_the_hub_is_told(hub: Hub, spec: RunSpec, look: Look, body: bytes) -> None:
    hub.answers[f"/api/models/{NAME}"] = (200, {}, body)
    [found] = look(spec)
    assert "answers with something that is not the Hub's" in found.what


# ---- room for the download


def test_a_download_larger_than_the_disk_is_refused(
    hub: Hub, spec: RunSpec, look: Look, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hub.model()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, 9 * 2**30))
    [found] = look(spec)
    assert "is 10.0 GiB to download, the checkpoints on the same disk 64 MiB" in found.what
    assert "has 9.0 GiB free" in found.what
    assert "HF_HOME=" in found.fix
    blobs = hub_room.repo_cache(NAME) / "blobs"
    blobs.mkdir(parents=True)
    (blobs / "sha-model.safetensors").touch()  # it is there already
    assert look(spec) == []


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        ({"model.safetensors", "pytorch_model.bin", "x.gguf", "config.json"}, {"model.safetensors", "config.json"}),
        (
            {"model.safetensors.index.json", "model-1.safetensors", "model-2.safetensors", "consolidated.safetensors"},
            {"model.safetensors.index.json", "model-1.safetensors", "model-2.safetensors"},
        ),
        (
            {"pytorch_model.bin.index.json", "pytorch_model-1.bin", "flax_model.msgpack"},
            {"pytorch_model.bin.index.json", "pytorch_model-1.bin"},
        ),
    ],
)
def test_only_what_transformers_takes_is_counted(names: set[str], wanted: set[str]) -> None:
    assert hub_room._wanted(names) == wanted


def test_the_password_of_an_endpoint_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "https://me:canary@mirror.example")
    told = str(hub_room._not_now(503, Message("preflight.no_reason")))
    assert "mirror.example" in told
    assert "canary" not in told
