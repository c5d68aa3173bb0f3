"""Whole weights that plain transformers loads: the adapter merged into what it was trained on, in float32.

A base that was trained on in 4 bits is dequantised first: merged into the unquantised weights, the adapter would
answer differently; merged into the 4-bit ones, most of it would be rounded away. Only one layer at a time is float32
(for a 16-bit export), and every merged layer is compared with PEFT's own unmerged forward before it is rounded.

Works on the CPU: a GPU may be busy with a run. Imports torch, transformers and PEFT inside its functions.
"""

from __future__ import annotations

import copy
import logging
import shutil
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trainer.errors import ExportError, Problem
from trainer.export import model_card, staging, verify
from trainer.export.kinds import DTYPES, FACTS, Exported, Say
from trainer.export.source import Base, Source
from trainer.machine.json_files import write_json
from trainer.run.checkpoints import ADAPTER
from trainer.text import Message

MERGE_TOLERANCE = 1e-4  # of a layer's largest output; float32 sums in another order give about 1e-6
ADAPTED = ".lora_"  # in the names of an adapter's weights, as PEFT has them
_PROBES = 4  # random inputs a merged layer is compared on


def export(source: Source, target: Path, dtype: str, say: Say) -> Exported:
    """Weights, tokenizer and card in `target`, verified. Raises ExportRefused or ExportError."""
    with staging.staged(target) as draft, quiet():
        facts = write(source, draft, target, dtype, say)
    return Exported(target, source.step, facts)


def write(source: Source, folder: Path, target: Path, dtype: str, say: Say, times: float = 1.0) -> dict[str, Any]:
    """The export into an empty folder; the content of its export.json.

    target: what the folder will be called. times: how often the size of the weights the disk must have room for.
    """
    import torch
    from transformers import AutoTokenizer

    assert dtype in DTYPES, dtype
    staging.need_room(target, round(times * size(source, dtype)))  # loading a large model takes minutes
    tokenizer = AutoTokenizer.from_pretrained(source.path)
    say(Message("export.loading", name=source.shown() if source.lora else source.path.name))
    model = load_adapted(source) if source.lora else load_whole(source)
    rows = verify.sequences(source, tokenizer, model.get_input_embeddings().num_embeddings)
    trained = verify.logits(model, rows)
    if source.lora:
        say(Message("export.merging"))
        model = merge(model, getattr(torch, dtype))
    cast(model, getattr(torch, dtype))
    stored = verify.logits(model, rows)
    # Again: loading took its time, and the size of some models is known only now.
    staging.need_room(target, round(times * sum(p.numel() * p.element_size() for p in model.parameters())))
    say(Message("export.saving"))
    model.save_pretrained(folder)
    for path in folder.glob("*.safetensors"):  # safetensors makes them readable by their owner alone
        path.chmod((folder / "config.json").stat().st_mode)
    for path in source.tokenizer_files:
        shutil.copyfile(path, folder / path.name)
    kind = type(model)
    del model
    say(Message("export.comparing"))
    loaded = complete(kind, folder, dtype="auto", trust_remote_code=source.spec.model.trust_remote_code)
    figures = verify.check(trained, stored, verify.logits(loaded, rows), dtype)
    facts = source.facts("merged") | {"dtype": dtype, "verified": figures}
    (folder / "README.md").write_text(model_card.merged(source, dtype, figures, _automatic(loaded)), encoding="utf-8")
    write_json(folder / FACTS, facts)
    return facts


@contextmanager
def quiet() -> Iterator[None]:
    """Without the notices of transformers and bitsandbytes; their errors are still printed."""
    from transformers.utils import logging as said

    level, kernels = said.get_verbosity(), logging.getLogger("bitsandbytes")
    said.set_verbosity_error()
    kernels.setLevel(logging.CRITICAL)  # it calls a kernel package that it can do without an error
    try:
        yield
    finally:
        said.set_verbosity(level)
        kernels.setLevel(logging.NOTSET)


def size(source: Source, dtype: str) -> int:
    """Bytes of the merged weights, from the shapes that the model's config gives: no weight is loaded. 0: unknown."""
    import torch

    trusted = {"trust_remote_code": source.spec.model.trust_remote_code}
    if source.lora:
        config = _base_config(source, source.base())
        loader = _fitting(_classes(config), config, _adapter_keys(source))
    else:
        loader, config = _whole(source)
    automatic = hasattr(loader, "_model_mapping")
    try:
        with torch.device("meta"):
            model = loader.from_config(config, **trusted) if automatic else loader(copy.deepcopy(config))
    except Exception:
        if not automatic:
            raise
        return 0  # remote code may not know tensors without data; once it is loaded its size is known as well
    numbers = sum(int(parameter.numel()) for parameter in model.parameters())
    return numbers * int(getattr(torch, dtype).itemsize)


def load_whole(source: Source) -> Any:
    """The model of a run that trained all weights, as saved."""
    trusted = source.spec.model.trust_remote_code
    model = complete(_whole(source)[0], source.path, dtype="auto", trust_remote_code=trusted)
    refuse_unfinite(source, model.named_parameters())
    return model


def _whole(source: Source) -> tuple[Any, Any]:
    """Class and config of the model of a run that trained all weights."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(source.path, trust_remote_code=source.spec.model.trust_remote_code)
    return _classes(config)[0], config


def load_adapted(source: Source, device: str = "cpu") -> Any:
    """Base plus adapter, not merged, in the dtype the run loaded it in; on the CPU 4-bit weights are dequantised.

    Raises ExportError when the base cannot be loaded or the adapter does not fit it.
    """
    from peft import PeftModel, get_peft_model_state_dict

    base = source.base()
    keys = _adapter_keys(source)
    model = _load_base(source, base, keys, device)
    adapted = PeftModel.from_pretrained(model, source.path, torch_device=device)
    # PEFT leaves out in silence what it finds no place for.
    lost = keys ^ set(get_peft_model_state_dict(adapted))
    if lost:
        values = {"lost": len(lost), "all": len(keys), "base": base.shown, "first": min(lost)}
        raise ExportError(Problem("export.adapter_does_not_fit", **values))
    refuse_unfinite(source, ((name, one) for name, one in adapted.named_parameters() if ADAPTED in name))
    return adapted.eval()


def refuse_unfinite(source: Source, parameters: Iterable[tuple[str, Any]]) -> None:
    """Raises ExportError naming the weights of the checkpoint that are no numbers."""
    from trainer.engine import weights

    if names := weights.unfinite(parameters):
        raise ExportError(Problem("export.not_finite", source.path.name, names=names[:3], count=len(names)))


def merge(adapted: Any, dtype: Any) -> Any:
    """The base model with the adapter in its weights, each merged in float32 and then cast to `dtype`."""
    import torch
    from peft.tuners.tuners_utils import BaseTunerLayer

    draw = torch.Generator().manual_seed(0)
    for name, layer in adapted.named_modules():
        if not isinstance(layer, BaseTunerLayer):
            continue
        layer.float()
        inner = layer.get_base_layer()
        probe = torch.randn(_PROBES, inner.in_features, generator=draw) if type(inner) is torch.nn.Linear else None
        with torch.no_grad():
            before = None if probe is None else layer(probe)
            layer.merge(safe_merge=True)  # raises when a weight is not finite
            if before is not None:
                difference = float((layer(probe) - before).abs().max() / before.abs().max())
                if not difference < MERGE_TOLERANCE:
                    raise ExportError(Problem("export.merged_layer_differs", name, difference=difference))
        cast(inner, dtype)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="All adapters are already merged")
        return adapted.merge_and_unload()


def cast(model: Any, dtype: Any) -> None:
    """The weights in that dtype, tied ones staying tied; buffers (rotary frequencies) keep theirs."""
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
    if hasattr(model, "config"):
        model.config.dtype = dtype


def _adapter_keys(source: Source) -> set[str]:
    from safetensors import safe_open

    with safe_open(source.path / ADAPTER, "pt") as file:
        return set(file.keys())


def _base_config(source: Source, base: Base) -> Any:
    from transformers import AutoConfig

    trusted = source.spec.model.trust_remote_code
    try:
        return AutoConfig.from_pretrained(base.name, revision=base.revision, trust_remote_code=trusted)
    except (OSError, ValueError) as error:
        raise _not_loaded(base, error) from error


def _not_loaded(base: Base, error: Exception) -> ExportError:
    return ExportError(Problem("export.base_not_loaded", "model.name", base=base.shown, said=str(error)))


def _load_base(source: Source, base: Base, keys: set[str], device: str) -> Any:
    import torch

    from trainer.engine import transformers_engine, weights

    model_spec = source.spec.model
    dtype = getattr(torch, source.compute_dtype())
    options: dict[str, Any] = {"revision": base.revision, "trust_remote_code": model_spec.trust_remote_code}
    config = _base_config(source, base)
    try:
        # A repository that is quantised already brings its own settings.
        if model_spec.load_in_4bit and getattr(config, "quantization_config", None) is None:
            options["quantization_config"] = transformers_engine.nf4(dtype, model_spec.double_quant)
        loader = _fitting(_classes(config), config, keys)
        with weights.watched_quantising(source.spec):
            model = complete(loader, base.name, dtype=dtype, device_map={"": device}, **options)
    except (OSError, ValueError) as error:
        raise _not_loaded(base, error) from error
    weights.refuse_unfinite(model, source.spec)
    if device != "cpu":
        return model
    if hasattr(model, "hf_device_map"):
        del model.hf_device_map  # PEFT 0.21 would move a model with such a map to a GPU, if there is one
    if getattr(model, "hf_quantizer", None) is None:
        return model
    transformers_engine.keep_nf4_backward_exact(model)
    try:
        return _dequantised(model, dtype)
    except NotImplementedError as error:
        raise ExportError(Problem("export.cannot_dequantise", "model.name", base=base.shown)) from error


def _dequantised(model: Any, dtype: Any) -> Any:
    """The model in plain layers that hold what its quantised ones stood for, rounded to the dtype the run used."""
    model = model.dequantize(dtype=dtype)
    # Of a repository that is stored in 4 bits, transformers 5.17 remembers how its weights were unpacked and fails on
    # the way back when the model is saved (core_model_loading.py `reverse_op`). There is no way back to go.
    kept = [known for known in getattr(model, "_weight_conversions", None) or [] if _reversible(known)]
    if hasattr(model, "_weight_conversions"):
        model._weight_conversions = kept or None
    return model


def _reversible(conversion: Any) -> bool:
    try:
        conversion.reverse_transform()
    except NotImplementedError:
        return False
    return True


def complete(loader: Any, place: str | Path, **options: Any) -> Any:
    """The model, if every weight it needs was there: transformers fills the others with random numbers."""
    model, report = loader.from_pretrained(place, output_loading_info=True, **options)
    lost = sorted(report["missing_keys"])
    if lost:
        values = {"count": len(lost), "model": type(model).__name__, "folder": Path(place).name, "first": lost[0]}
        raise ExportError(Problem("export.weights_missing", "model.name", **values))
    return model


def _classes(config: Any) -> list[Any]:
    """Classes that can hold this config, the one that saved it first."""
    import transformers
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

    named = [getattr(transformers, name, None) for name in config.architectures or []]
    mapped = [
        auto._model_mapping.get(type(config), None) for auto in (AutoModelForCausalLM, AutoModelForImageTextToText)
    ]
    known = [found for found in (*named, *mapped) if isinstance(found, type)]
    # Remote code is known to the automatic class alone.
    return list(dict.fromkeys(known)) or [AutoModelForCausalLM]


def _automatic(model: Any) -> str:
    """Name of the automatic class that loads this model, for the card."""
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

    sees = AutoModelForImageTextToText._model_mapping.get(type(model.config), None) is type(model)
    writes = AutoModelForCausalLM._model_mapping.get(type(model.config), None) is type(model)
    return "AutoModelForImageTextToText" if sees and not writes else "AutoModelForCausalLM"


def _fitting(classes: list[Any], config: Any, keys: set[str]) -> Any:
    """The class whose layers have the names the adapter was trained on: one checkpoint of a vision-language model
    can be loaded with and without its vision tower, under other names."""
    import torch

    wanted = {key.removeprefix("base_model.model.").partition(ADAPTED)[0] for key in keys}
    for found in classes:
        if hasattr(found, "_model_mapping"):
            return found
        with torch.device("meta"):
            names = {name for name, _ in found(copy.deepcopy(config)).named_modules()}
        if wanted <= names:
            return found
    return classes[0]  # what does not fit is named once it is loaded
