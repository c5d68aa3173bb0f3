"""Direct preference optimisation against equation 7 of its paper, and which completions become a pair."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig

from tests.builders import tiny_model
from tests.stages.made import log_probs, spec_of, supervised_trainer
from trainer.errors import DataError
from trainer.spec import Dpo, Lora, RunSpec
from trainer.stages.examples import Pair, pairs
from trainer.stages.samples import Sample, Sampled

PAIRS = [
    Pair([5, 6, 7], [20, 21, 22, 1], [23, 1]),
    Pair([8], [24, 1], [25, 26, 27, 28, 29, 1]),
    Pair([9, 10], [30, 31, 1], [32, 33, 34]),
    Pair([11, 12, 13, 14], [35, 1], [36, 1]),
]


def loss_of(policy: Any, reference: Any, beta: float) -> torch.Tensor:
    """arXiv 2305.18290, equation 7: the mean of -log sigmoid(beta ((log pi(w) - log ref(w)) - (log pi(l) - ...)))."""
    terms = []
    for one in PAIRS:
        margins = []
        for completion in (one.chosen, one.rejected):
            with torch.no_grad():
                base = reference(one.prompt, completion)
            margins.append(policy(one.prompt, completion) - base)
        terms.append(-torch.nn.functional.logsigmoid(beta * (margins[0] - margins[1])))
    return torch.stack(terms).mean()


def total(model: Any) -> Any:
    return lambda prompt, completion: log_probs(model, prompt, completion).sum()


def shake(model: Any, seed: int = 3) -> None:
    """A policy that has gone some way from where it started."""
    made = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.05 * torch.randn(parameter.shape, generator=made)


@pytest.mark.parametrize("accumulation", [1, 2])
def test_loss_and_gradient_with_whole_weights(accumulation: int, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    made, tokenizer = tiny_model()
    made.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    load = AutoModelForCausalLM.from_pretrained
    trainer, recorder, gradients = supervised_trainer(
        tmp_path,
        spec_of("dpo", dpo=Dpo(beta=0.3), lora=Lora(enabled=False)),
        PAIRS,
        model=load(tmp_path / "base"),
        per_device_train_batch_size=4 // accumulation,
        gradient_accumulation_steps=accumulation,
    )
    policy, reference = load(tmp_path / "base").eval(), load(tmp_path / "base").eval()
    shake(trainer.model)
    shake(policy)
    loss = loss_of(total(policy), total(reference), 0.3)
    loss.backward()
    trainer.train()
    ((_, logs, _),) = recorder.steps
    assert logs["loss"] == pytest.approx(loss.item(), rel=1e-4)
    assert abs(loss.item() - 0.6931) > 0.01  # the policy is not the reference
    for name, parameter in policy.named_parameters():
        torch.testing.assert_close(gradients.steps[0][name], parameter.grad, atol=5e-6, rtol=1e-3)


def test_loss_and_gradient_with_an_adapter_whose_reference_is_the_model_without_it(tmp_path: Path) -> None:
    trainer, recorder, gradients = supervised_trainer(
        tmp_path,
        spec_of("dpo", lora=Lora(enabled=True)),
        PAIRS,
        peft_config=LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"),
        per_device_train_batch_size=4,
    )
    shake(trainer.model)
    base, _ = tiny_model()
    loss = loss_of(total(trainer.model), total(base), 0.1)
    loss.backward()
    wanted = {name: each.grad.clone() for name, each in trainer.model.named_parameters() if each.grad is not None}
    trainer.model.zero_grad()
    trainer.train()
    assert recorder.steps[0][1]["loss"] == pytest.approx(loss.item(), rel=1e-4)
    assert abs(loss.item() - 0.6931) > 1e-3
    assert gradients.steps[0].keys() == wanted.keys()
    for name, gradient in wanted.items():
        torch.testing.assert_close(gradients.steps[0][name], gradient, atol=5e-6, rtol=1e-3)


def test_the_reference_of_whole_weights_is_of_the_same_revision_and_attention() -> None:
    """TRL loads it by the model's name: without these it would be another model."""
    from trl import DPOConfig

    from trainer.grpo import config
    from trainer.stages import config as stage_config

    whole = spec_of("dpo", lora=Lora(enabled=False))
    whole = whole.model_copy(
        update={"model": whole.model.model_copy(update={"revision": "abc", "attn_implementation": "eager"})}
    )
    chosen = stage_config.choose(whole, {}, config.defaults_of(DPOConfig))
    wanted = {"dtype": "float32", "revision": "abc", "attn_implementation": "eager", "trust_remote_code": False}
    assert chosen["model_init_kwargs"] == wanted
    adapter = whole.model_copy(update={"lora": Lora(enabled=True)})
    assert stage_config.choose(adapter, {}, config.defaults_of(DPOConfig))["model_init_kwargs"] is None


# ---- pairs


def sampled(*completions: tuple[str, float | None] | tuple[str, float | None, bool]) -> Sampled:
    """(text, reward) or (text, reward, whether it ended); the ids are made of the text."""
    made = [
        Sample(text, list(map(ord, text)), reward, None, ended[0] if ended else True)
        for text, reward, *ended in completions
    ]
    return Sampled([1], made)


def made_of(row: Sampled, **settings: Any) -> list[tuple[str, str]]:
    spec: RunSpec = spec_of("dpo", dpo=Dpo(**settings))
    try:
        found = pairs([row], spec)
    except DataError as error:
        assert error.problems[0].key == "stages.no_pairs"
        return []
    return [("".join(map(chr, one.chosen)), "".join(map(chr, one.rejected))) for one in found]


FOUR = (("a", 1.0), ("b", 0.75), ("c", 0.25), ("d", 0.0))
TABLE: dict[str, tuple[Sampled, dict[str, Any], list[tuple[str, str]]]] = {
    "the best with the worst": (sampled(*FOUR), {}, [("a", "d")]),
    "the second best with the second worst": (sampled(*FOUR), {"per_prompt": 2}, [("a", "d"), ("b", "c")]),
    "no pair twice, and none turned round": (sampled(*FOUR), {"per_prompt": 4}, [("a", "d"), ("b", "c")]),
    "all the same": (sampled(("a", 1.0), ("b", 1.0), ("c", 1.0)), {}, []),
    "one only": (sampled(("a", 1.0)), {}, []),
    "one text several times": (sampled(("a", 1.0), ("a", 1.0), ("b", 0.0)), {"per_prompt": 3}, [("a", "b")]),
    "of one text the one that ended": (
        sampled(("a", 1.0), ("a", 1.0, False), ("b", 0.0)),
        {},
        [("a", "b")],
    ),
    "of one text the one that was judged": (sampled(("a", 1.0), ("a", None), ("b", 0.0)), {}, [("a", "b")]),
    "unjudged ones are in no pair": (sampled(("a", None), ("b", 1.0), ("c", None), ("d", 0.0)), {}, [("b", "d")]),
    "none judged": (sampled(("a", None), ("b", None)), {}, []),
    "a cut one is never chosen": (sampled(("a", 1.0, False), ("b", 0.5), ("c", 0.0)), {}, [("b", "c")]),
    "a cut one may be rejected": (sampled(("a", 1.0), ("b", 0.0, False)), {}, [("a", "b")]),
    "all cut": (sampled(("a", 1.0, False), ("b", 0.0, False)), {}, []),
    "only the worst has an end": (sampled(("a", 1.0, False), ("b", 0.0)), {}, []),
    "as much as the least difference": (sampled(("a", 1.0), ("b", 0.5)), {"min_difference": 0.5}, []),
    "more than it": (sampled(("a", 1.0), ("b", 0.4)), {"min_difference": 0.5}, [("a", "b")]),
    "only some pairs differ enough": (sampled(*FOUR), {"per_prompt": 2, "min_difference": 0.6}, [("a", "d")]),
}


@pytest.mark.parametrize("case", TABLE)
def test_pairs(case: str) -> None:
    row, settings, wanted = TABLE[case]
    assert made_of(row, **settings) == wanted


def test_the_ids_are_those_that_were_written_and_the_prompt_is_the_rows() -> None:
    row = Sampled([7, 8], [Sample("x", [3, 1], 1.0, True, True), Sample("y", [4, 5], 0.0, False, False)])
    assert pairs([row], spec_of("dpo")) == [Pair([7, 8], [3, 1], [4, 5])]
    assert Pair([7], [3], [4]).row() == {"prompt_ids": [7], "chosen_ids": [3], "rejected_ids": [4]}
