"""Every upstream name that is hooked exists and is used as the hook expects. Fails, never skips."""

import inspect
import json
from pathlib import Path
from typing import Any

import accelerate
import pytest
import transformers
from bitsandbytes.nn import Params4bit
from transformers.modeling_layers import GradientCheckpointingLayer
from trl import GRPOConfig, GRPOTrainer
from trl.generation.vllm_generation import VLLMGeneration
from trl.trainer.utils import RepeatSampler

PROJECT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (GRPOTrainer, "_prepare_inputs"),
        (GRPOTrainer, "_generate_and_score_completions"),
        (GRPOTrainer, "_calculate_rewards"),
        (GRPOTrainer, "_get_per_token_logps_and_entropies"),
        (GRPOTrainer, "compute_loss"),
        (GRPOTrainer, "_get_train_sampler"),
        (GRPOTrainer, "log"),
        (GRPOTrainer, "training_step"),
        (GRPOTrainer, "_save_checkpoint"),
        (GRPOTrainer, "_tokenize_prompts"),
        (transformers.Trainer, "create_optimizer"),
        (transformers.Trainer, "_load_from_checkpoint"),
        (accelerate.Accelerator, "backward"),
        (GradientCheckpointingLayer, "gradient_checkpointing"),
        (Params4bit, "_quantize"),
        (transformers.TrainerCallback, "on_step_begin"),
        (transformers.TrainerCallback, "on_step_end"),
    ],
)
def test_a_hooked_name_exists(owner: Any, name: str) -> None:
    assert hasattr(owner, name)


@pytest.mark.parametrize(
    ("caller", "call"),
    [
        ("_prepare_inputs", "self._generate_and_score_completions("),
        (
            "_generate_and_score_completions",
            "self._calculate_rewards(inputs, prompts, completions, completion_ids_list)",
        ),
        ("_generate_and_score_completions", '"prompt_ids": prompt_ids'),
        ("_generate_and_score_completions", '"prompt_mask": prompt_mask'),
        ("_generate_and_score_completions", '"advantages": advantages'),
        ("_generate_single_turn", "unwrapped_model.generate("),
        ("_generate_single_turn", 'profiling_context(self, "transformers.generate")'),
        ("_compute_loss", "self._get_per_token_logps_and_entropies("),
        # Episodes: stand-ins are made in order, begun in the order of the rows, and called by their public methods.
        ("__init__", "inspect.getmembers(instance, predicate=inspect.ismethod)"),
        ("__init__", 'elif not member_name.startswith("_"):'),
        ("_generate_and_score_completions", "pool.append(self.environment_factories[name]())"),
        ("_generate_and_score_completions", "observation = environment.reset(**reset_kwargs)"),
        ("_generate_and_score_completions", ") = self._generate(prompts)"),
        ("_generate", ") = self._tool_call_loop("),
        ("_tokenize_prompts", "zip(prompts, self._batch_environments, strict=True)"),
        ("_tool_call_loop", 'tool_call_results.append((name, sync_tool_dict[name](**function["arguments"])))'),
        ("_tool_call_loop", "tool_mask[idx_with_tool] += [0] * tool_length + [1] * post_tool_length"),
        ("_tool_call_loop", "self._generate_single_turn("),
        ("_calculate_rewards", 'reward_kwargs["environments"] = self.environments'),
        ("log", "logs.update(metrics)"),
    ],
)
def test_trl_still_calls_what_is_hooked(caller: str, call: str) -> None:
    assert call in inspect.getsource(getattr(GRPOTrainer, caller))


@pytest.mark.parametrize(
    ("function", "call"),
    [
        (transformers.Trainer.training_step, "self._prepare_inputs("),
        (transformers.Trainer.training_step, "self.compute_loss("),
        (transformers.Trainer.training_step, "self.accelerator.backward("),
        (transformers.Trainer._save_checkpoint, "self._get_output_dir("),
        (
            accelerate.data_loader.DataLoaderShard.set_epoch,
            "self.batch_sampler.sampler.set_epoch(epoch)",
        ),
    ],
)
def test_transformers_and_accelerate_still_call_what_is_hooked(function: Any, call: str) -> None:
    assert call in inspect.getsource(function)


@pytest.mark.parametrize(
    ("caller", "call"),
    [
        (GRPOTrainer.__init__, "self.vllm_generation = VLLMGeneration("),
        (GRPOTrainer.__init__, "model=self.model,"),
        (GRPOTrainer._generate_single_turn, "self.state.global_step != self._last_loaded_step"),
        (GRPOTrainer._generate_single_turn, "self.vllm_generation.sync_weights()"),
        (GRPOTrainer._generate_single_turn, "self.vllm_generation.generate("),
        (GRPOTrainer._generate_single_turn, 'profiling_context(self, "vLLM.generate")'),
        (GRPOTrainer._generate_single_turn, 'profiling_context(self, "sync_weights")'),
        (VLLMGeneration._init_vllm, "self.llm = LLM("),
        (VLLMGeneration._init_vllm, 'distributed_executor_backend="external_launcher"'),
        (VLLMGeneration.sync_weights, "self._iter_named_params()"),
        (VLLMGeneration._iter_named_params, "model.merge_adapter()"),
        (VLLMGeneration.generate, "generation_kwargs.update(self.generation_kwargs)"),
        (VLLMGeneration.generate, "self.llm.generate(vllm_prompts, sampling_params=sampling_params, use_tqdm=False)"),
    ],
)
def test_trl_still_brings_vllm_in_where_it_is_hooked(caller: Any, call: str) -> None:
    """What vLLM itself must have is in tests/vllm_cpu: it is installed for those tests only."""
    assert call in inspect.getsource(caller)


@pytest.mark.parametrize("argument", ["dtype=", "revision=", "enforce_eager=", "enable_lora="])
def test_trl_leaves_to_vllm_what_is_added_here(argument: str) -> None:
    assert argument not in inspect.getsource(VLLMGeneration._init_vllm).partition("self.llm = LLM(")[2]


def test_the_default_share_of_vllm_is_that_of_the_estimate() -> None:
    from trainer.plan.estimate import TRL_VLLM_SHARE

    fields = GRPOConfig.__dataclass_fields__
    assert fields["vllm_gpu_memory_utilization"].default == TRL_VLLM_SHARE
    assert fields["vllm_mode"].default == "colocate"


@pytest.mark.parametrize("name", ["_tokenizer", "eos_token_ids", "reward_funcs"])
def test_the_trainer_sets_what_a_batch_is_made_of(name: str) -> None:
    assert f"self.{name} = " in inspect.getsource(GRPOTrainer.__init__)


def test_rewards_are_named_by_their_class() -> None:
    from trl.trainer.utils import get_callable_name

    from tests.builders import REWARD
    from trainer.rewards.wrapper import ComponentRewardWrapper

    assert get_callable_name(ComponentRewardWrapper(REWARD)) == "ComponentRewardWrapper"


def test_the_sampler_keeps_what_its_copy_is_made_of() -> None:
    sampler = RepeatSampler(range(4), mini_repeat_count=2, seed=1)
    for name in (
        "data_source",
        "mini_repeat_count",
        "batch_size",
        "repeat_count",
        "shuffle",
        "seed",
        "generator",
    ):
        assert hasattr(sampler, name)


def test_the_table_of_arguments_is_that_of_the_installed_trl() -> None:
    """If this fails after a change of the pin: .venv/bin/python tools/trl_arguments.py"""
    import dataclasses

    table = json.loads((PROJECT / "trainer" / "spec" / "trl_arguments.json").read_text())
    assert set(table) == {field.name for field in dataclasses.fields(GRPOConfig) if field.init}

    from tools.trl_arguments import of_every_training
    from tools.trl_arguments import table as fresh

    assert table == fresh()
    listed = json.loads((PROJECT / "trainer" / "spec" / "training_arguments.json").read_text())
    assert listed == of_every_training()


def test_sft_and_dpo_have_what_is_hooked_and_set() -> None:
    """trainer/stages: arguments of every training, counters and methods of TRL's trainers."""
    import dataclasses

    from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

    from trainer.spec import training_arguments

    own = {"max_length", "train_sampling_strategy"}
    for config, more in ((SFTConfig, {"completion_only_loss", "loss_type"}), (DPOConfig, {"beta", "loss_type"})):
        assert training_arguments() | own | more <= {field.name for field in dataclasses.fields(config) if field.init}
    assert {"model_init_kwargs", "disable_dropout"} <= {field.name for field in dataclasses.fields(DPOConfig)}
    for trainer in (SFTTrainer, DPOTrainer):
        assert "_total_train_tokens" in inspect.getsource(trainer)
        assert callable(trainer.compute_loss)
        assert callable(trainer._prepare_dataset)
