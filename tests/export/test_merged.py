"""The merged export answers as base + adapter did, in a fresh plain transformers, and appears whole or not at all."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.export.conftest import make_spec, new_run, strengthen
from trainer.engine import builtin, transformers_engine
from trainer.engine.interface import Choice
from trainer.errors import ExportError, ExportRefused
from trainer.export import export, merged, staging, verify
from trainer.run import checkpoints
from trainer.run.events import EventWriter
from trainer.run.records import PlanEvent
from trainer.run.rundir import RunDir
from trainer.text import Message

ROWS = [[1, 4, 70, 71, 72, 2, 5, 80, 81, 82, 2], list(range(8, 60))]


def silent(line: Message | str) -> None:
    pass


def logits(model: Any) -> torch.Tensor:
    model.eval()
    with torch.no_grad():
        return torch.cat([model(input_ids=torch.tensor([row])).logits[0].float() for row in ROWS])


def trained(rundir: RunDir, dtype: str = "float32") -> torch.Tensor:
    """Logits of base + adapter as the run's own engine loads them, computed in float32.

    A float32 run goes through bitsandbytes' own 4-bit layers. A bfloat16 run trains on their weights rounded to
    bfloat16 (`dequantize_4bit`), which these layers leave out when asked to compute in float32: there they are taken.
    """
    from bitsandbytes.functional import dequantize_4bit
    from bitsandbytes.nn import Linear4bit
    from peft import PeftModel

    spec = rundir.read_spec()
    folder = str(builtin.ensure(spec)) if spec.model.name.startswith("builtin/") else spec.model.name
    model = transformers_engine.load(spec, Choice("transformers", "cpu", dtype), folder).model
    for parameter in model.parameters():
        if parameter.is_floating_point():
            parameter.data = parameter.data.float()
    for name, module in list(model.named_modules()):
        if isinstance(module, Linear4bit) and dtype == "bfloat16":
            plain = torch.nn.Linear(module.in_features, module.out_features, bias=False)
            plain.weight.data = dequantize_4bit(module.weight.data, module.weight.quant_state).float()
            model.set_submodule(name, plain)
    base = logits(model)
    found = logits(PeftModel.from_pretrained(model, rundir.checkpoint(2)))
    assert (found - base).abs().max() > 0.5, "the adapter must matter, or the test shows nothing"
    return found


@pytest.mark.parametrize("name", ["lora", "nf4"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_float32_weights_answer_as_base_and_adapter_in_the_dtype_the_run_loaded_its_base_in(
    runs: Path, tmp_path: Path, name: str, dtype: str
) -> None:
    shutil.copytree(runs / name, tmp_path / "outputs" / name)
    rundir = RunDir(tmp_path / "outputs" / name)
    with EventWriter(rundir.events, 2) as events:
        events.emit(PlanEvent(plan={}, dtype=dtype, device="cpu"))
    made = export(rundir, "merged", dtype="float32", say=silent)
    assert made.path == rundir.exports / "merged-2"
    loaded = AutoModelForCausalLM.from_pretrained(made.path)
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
    assert not hasattr(loaded.config, "quantization_config")
    difference = (logits(loaded) - trained(rundir, dtype)).abs().max()
    print(f"{name}, loaded in {dtype}: {difference:.2e}")
    assert difference < 1e-3
    assert made.facts["verified"]["trained_max_abs_diff"] < 1e-3


def test_bfloat16_weights_are_the_float32_merge_rounded_once(runs: Path, tmp_path: Path) -> None:
    exact = export(RunDir(runs / "nf4"), "merged", out=tmp_path / "f", dtype="float32", say=silent)
    short = export(RunDir(runs / "nf4"), "merged", out=tmp_path / "b", say=silent)
    wanted = AutoModelForCausalLM.from_pretrained(exact.path).state_dict()
    found = AutoModelForCausalLM.from_pretrained(short.path, dtype="auto").state_dict()
    assert all(torch.equal(weight.bfloat16(), found[name]) for name, weight in wanted.items())
    verified = short.facts["verified"]
    assert verified["saved_max_abs_diff"] < 1e-3
    assert 0 < verified["trained_rms_diff_share"] < 0.02
    assert verified["sequences"] == verify.SEQUENCES


def test_a_fresh_process_with_nothing_but_transformers_generates_the_same(runs: Path, tmp_path: Path) -> None:
    made = export(RunDir(runs / "lora"), "merged", out=tmp_path / "m", dtype="float32", say=silent)
    script = (
        "import sys; from transformers import AutoModelForCausalLM as M, AutoTokenizer as T\n"
        "m, t = M.from_pretrained(sys.argv[1]), T.from_pretrained(sys.argv[1])\n"
        "ids = t.apply_chat_template([{'role': 'user', 'content': 'ab1'}], add_generation_prompt=True,"
        " return_tensors='pt', return_dict=True)\n"
        "print(m.generate(**ids, max_new_tokens=6, do_sample=False)[0].tolist())\n"
        "print('peft' in sys.modules and 'peft.peft_model' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(made.path)], capture_output=True, text=True, cwd=tmp_path)
    tokens, with_peft = done.stdout.splitlines()
    from peft import PeftModel

    rundir = RunDir(runs / "lora")
    model = AutoModelForCausalLM.from_pretrained(rundir.read_spec().model.name)
    model = PeftModel.from_pretrained(model, rundir.checkpoint(2)).eval()
    tokenizer = AutoTokenizer.from_pretrained(rundir.checkpoint(2))
    chat = [{"role": "user", "content": "ab1"}]
    ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    assert json.loads(tokens) == model.generate(**ids, max_new_tokens=6, do_sample=False)[0].tolist()
    assert with_peft == "False"


def test_whole_weights_are_copied_in_the_chosen_dtype(runs: Path, tmp_path: Path) -> None:
    rundir = RunDir(runs / "whole")
    made = export(rundir, "merged", out=tmp_path / "m", say=silent)
    wanted = AutoModelForCausalLM.from_pretrained(rundir.checkpoint(2)).state_dict()
    found = AutoModelForCausalLM.from_pretrained(made.path, dtype="auto").state_dict()
    assert all(torch.equal(weight.bfloat16(), found[name]) for name, weight in wanted.items())


@pytest.mark.parametrize("stored_in_4_bits", [False, True])
def test_a_vision_language_base_keeps_its_class_and_its_tower(
    runs: Path, tmp_path: Path, stored_in_4_bits: bool
) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    text = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    text |= {"num_key_value_heads": 1, "head_dim": 16, "vocab_size": 128, "sliding_window": 16}
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = Gemma3Config(text_config=text, vision_config=vision | {"image_size": 28, "patch_size": 14})
    config.mm_tokens_per_image = 4
    torch.manual_seed(0)
    model = Gemma3ForConditionalGeneration(config)
    model.save_pretrained(tmp_path / "gemma")
    if stored_in_4_bits:
        quantised = transformers_engine.nf4(torch.float32, double_quant=True)
        quantised.llm_int8_skip_modules = ["model.vision_tower", "lm_head", "model.multi_modal_projector"]
        model = Gemma3ForConditionalGeneration.from_pretrained(tmp_path / "gemma", quantization_config=quantised)
        model.save_pretrained(tmp_path / "gemma")
        transformers_engine.keep_nf4_backward_exact(model)
    spec = make_spec({"name": str(tmp_path / "gemma")})
    adapted = get_peft_model(model, LoraConfig(r=4, target_modules=r".*language_model.*\.(q_proj|down_proj)"))
    strengthen(adapted)
    staged = tmp_path / "checkpoint-7"
    shutil.copytree(runs / "lora" / "checkpoints" / "checkpoint-2", staged)
    adapted.save_pretrained(staged)
    rundir = new_run(tmp_path / "outputs", "vision", spec)
    checkpoints.publish(staged, rundir.checkpoints, {"step": 7, "model": "gemma"})
    made = export(rundir, "merged", dtype="float32", say=silent)
    loaded = AutoModelForCausalLM.from_pretrained(made.path)
    assert type(loaded) is Gemma3ForConditionalGeneration
    assert (logits(loaded) - logits(adapted)).abs().max() < 1e-3
    tower = model.state_dict()
    names = [name for name in tower if "vision_tower" in name]
    assert len(names) > 10
    assert all(torch.equal(loaded.state_dict()[name], tower[name]) for name in names)


def test_no_file_of_an_export_names_a_folder_of_this_machine(runs: Path, tmp_path: Path) -> None:
    for name in ("nf4", "lora"):
        for kind in ("adapter", "merged"):
            made = export(RunDir(runs / name), kind, out=tmp_path / f"{name}-{kind}", say=silent)
            texts = [path for path in made.path.iterdir() if path.suffix in (".json", ".md", ".jinja")]
            assert len(texts) >= 5
            assert [path.name for path in texts if str(runs.parent) in path.read_text(encoding="utf-8")] == []


@pytest.mark.parametrize("where", ["save", "verify", "interrupt"])
def test_a_failure_leaves_nothing_behind(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    error = {"save": OSError(28, "No space left"), "verify": None, "interrupt": KeyboardInterrupt()}[where]

    def fail(*args: object, **kwargs: object) -> None:
        assert error is not None
        raise error

    if where == "save":
        monkeypatch.setattr("transformers.PreTrainedModel.save_pretrained", fail)
    elif where == "interrupt":
        monkeypatch.setattr(verify, "check", fail)
    else:
        monkeypatch.setattr(verify, "MAX_ABS_DIFF", 0.0)  # nothing is below it
    with pytest.raises((OSError, ExportError, KeyboardInterrupt)):
        export(RunDir(runs / "whole"), "merged", out=tmp_path / "new" / "m", say=silent)
    assert list(tmp_path.iterdir()) == []


def test_a_layer_that_was_merged_wrongly_is_found(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from peft.tuners.lora import Linear

    right = Linear.merge

    def wrong(self: Any, *args: Any, **kwargs: Any) -> None:
        right(self, *args, **kwargs)
        self.get_base_layer().weight.data.mul_(1.001)

    monkeypatch.setattr(Linear, "merge", wrong)
    with pytest.raises(ExportError, match=r"q_proj.*the merged layer differs"):
        export(RunDir(runs / "lora"), "merged", say=silent)
    assert not RunDir(runs / "lora").exports.exists()


def test_weights_that_were_saved_wrongly_are_found() -> None:
    torch.manual_seed(0)
    right = [torch.randn(9, 30)]
    off = [right[0] + 0.01]
    assert verify.check(right, right, right, "float32")["top1_agreement"] == 1.0
    with pytest.raises(ExportError, match=r"the saved weights differ from those in memory by 0\.01"):
        verify.check(right, right, off, "bfloat16")
    with pytest.raises(ExportError, match=r"differ from base \+ adapter by 0.01"):
        verify.check(right, off, off, "float32")
    with pytest.raises(ExportError, match="positions where the model is sure"):
        verify.check(right, [-right[0]], [-right[0]], "bfloat16")
    with pytest.raises(ExportError, match="nan"):
        verify.check(right, right, [right[0] * float("nan")], "float32")


def test_float32_arithmetic_gives_the_weights_back_as_they_were(runs: Path) -> None:
    model = merged.load_whole(_source(runs, "whole"))
    merged.cast(model, torch.bfloat16)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    found = torch.cat(verify.logits(model, ROWS))
    after = model.state_dict()
    assert all(
        after[name].dtype == weight.dtype and torch.equal(after[name], weight) for name, weight in before.items()
    )
    assert torch.equal(found, logits(model.float()))


def test_an_adapter_that_does_not_fit_its_base_is_refused(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "lora", tmp_path / "lora")
    shutil.copytree(runs.parent / "base", tmp_path / "base")
    config = json.loads((tmp_path / "base" / "config.json").read_text())
    config |= {"num_hidden_layers": 1, "layer_types": config["layer_types"][:1]}
    (tmp_path / "base" / "config.json").write_text(json.dumps(config))
    rundir = RunDir(tmp_path / "lora")
    rundir.spec.write_text(make_spec({"name": str(tmp_path / "base")}).model_dump_json())
    with pytest.raises(ExportError, match=r"weights do not fit base|cannot be loaded"):
        export(rundir, "merged", say=silent)


def test_a_base_that_lacks_a_weight_is_refused_instead_of_filled_with_random_numbers(
    runs: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    shutil.copytree(runs / "lora", tmp_path / "lora")
    shutil.copytree(runs.parent / "base", tmp_path / "base")
    weights = load_file(tmp_path / "base" / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, tmp_path / "base" / "model.safetensors", {"format": "pt"})
    rundir = RunDir(tmp_path / "lora")
    rundir.spec.write_text(make_spec({"name": str(tmp_path / "base")}).model_dump_json())
    with pytest.raises(
        ExportError, match=r"1 weights that Qwen3ForCausalLM needs are not in base, among them .*up_proj"
    ):
        export(rundir, "merged", say=silent)


def test_a_quantised_repository_that_unsloth_took_is_the_base(runs: Path, tmp_path: Path) -> None:
    """The run asked for one repository; its manifest says which was loaded, at which commit."""
    found = _source(runs, "lora")
    spec = make_spec({"name": "someone/model", "load_in_4bit": True})
    manifest = found.manifest | {"model": "unsloth/model-bnb-4bit@abc123"}
    base = dataclasses.replace(found, spec=spec, manifest=manifest).base()
    assert (base.name, base.revision, base.public) == ("unsloth/model-bnb-4bit", "abc123", True)


def test_a_base_that_is_stored_in_4_bits_is_dequantised_as_well(runs: Path, tmp_path: Path) -> None:
    quantised = make_spec({"name": str(runs.parent / "base"), "load_in_4bit": True})
    choice = Choice("transformers", "cpu", "float32")
    transformers_engine.load(quantised, choice, quantised.model.name).model.save_pretrained(tmp_path / "stored")
    assert "quantization_config" in json.loads((tmp_path / "stored" / "config.json").read_text())
    for name, spec in (("made", quantised), ("stored", make_spec({"name": str(tmp_path / "stored")}))):
        shutil.copytree(runs / "lora", tmp_path / name / "run")
        (tmp_path / name / "run" / "spec.json").write_text(spec.model_dump_json())
        export(RunDir(tmp_path / name / "run"), "merged", out=tmp_path / name / "m", dtype="float32", say=silent)
    made, stored = (AutoModelForCausalLM.from_pretrained(tmp_path / name / "m") for name in ("made", "stored"))
    assert not hasattr(stored.config, "quantization_config")
    assert all(torch.equal(weight, stored.state_dict()[name]) for name, weight in made.state_dict().items())


def test_a_built_in_base_that_would_come_out_different_is_refused(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONEGRPO_CACHE", str(tmp_path / "empty"))
    monkeypatch.setattr(builtin, "RECIPE", 999)
    with pytest.raises(ExportError, match=r"as this run trained it .* install the versions in env.json"):
        export(RunDir(runs / "nf4"), "merged", say=silent)


def test_a_full_disk_and_a_taken_target_are_refused(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(ExportRefused, match=r"exists already  ->  --out ANOTHER_FOLDER, or delete it"):
        export(RunDir(runs / "lora"), "merged", out=tmp_path / "there", say=silent)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    said: list[Message | str] = []
    for name, kind in (("lora", "adapter"), ("lora", "merged"), ("nf4", "merged"), ("whole", "merged")):
        with pytest.raises(ExportRefused, match=rf"{kind}: its disk has .* GiB free, the export needs") as raised:
            export(RunDir(runs / name), kind, out=tmp_path / kind, say=said.append)
        assert staging.PREFIX not in str(raised.value)
    assert said == [], "it is refused before anything is loaded"
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


@pytest.mark.parametrize("name", ["lora", "nf4", "whole"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_size_of_the_weights_is_known_before_they_are_loaded(
    runs: Path, tmp_path: Path, name: str, dtype: str
) -> None:
    source = _source(runs, name)
    made = export(RunDir(runs / name), "merged", out=tmp_path / "m", dtype=dtype, say=silent)
    written = sum(path.stat().st_size for path in made.path.glob("*.safetensors"))
    assert 0 <= written - merged.size(source, dtype) < 10_000  # the header of the file


def _source(runs: Path, name: str) -> Any:
    from trainer.export import source

    return source.find(RunDir(runs / name), "latest", silent)
