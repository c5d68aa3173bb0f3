"""What a spec allows and its author probably did not mean: warnings, shown by the plan and at the start of a run."""

from __future__ import annotations

from collections.abc import Iterator

from trainer.spec import RunSpec

# GSPO's paper (arXiv 2507.18071, section 5.1) clips the sequence ratio at 3e-4 and 4e-4; at 0.1
# and above nothing is ever clipped, because the ratio is a mean over the tokens.
GSPO_WIDE_EPSILON = 0.1
SUMMED_PER_TOKEN = ("bnpo", "dr_grpo", "dapo", "cispo")


def warnings(spec: RunSpec) -> list[str]:
    """What is allowed and probably not what was meant; one sentence each, naming the key."""
    found = [*_sequence_level(spec)]
    biased = [
        f"generation.{key}"
        for key, off in (("top_p", 1.0), ("top_k", 0), ("min_p", None), ("repetition_penalty", 1.0))
        if getattr(spec.generation, key) != off
    ]
    if biased:
        found.append(
            f"{', '.join(biased)}: completions are not samples of the policy itself, which "
            "biases the importance ratios."
        )
    if not spec.data.has_held_out_rows and (spec.eval.at_start or spec.eval.at_end):
        found.append(
            "No held-out rows (data.eval_path, eval_split or eval_fraction): the run cannot say "
            "whether it got better on rows it did not train on."
        )
    missing = {"rouge1", "bertscore", "exact_match"} - {leaf.function for leaf in spec.reward.leaves()}
    if spec.eval.answers and missing:
        found.append(
            f"eval.answers: `python -m trainer evaluate` will not be able to score the answers by this run's rewards, "
            f"which have no {', '.join(sorted(missing))}."
        )
    if spec.model.attn_implementation and spec.model.engine == "unsloth":
        found.append("model.attn_implementation may be ignored: Unsloth has attention of its own for Llama and Qwen3.")
    if spec.model.trust_remote_code:
        found.append("model.trust_remote_code runs Python code of the model's repository on this machine.")
    return found


def _sequence_level(spec: RunSpec) -> Iterator[str]:
    grpo = spec.grpo
    if grpo.importance_sampling_level == "sequence":
        if grpo.loss_type in SUMMED_PER_TOKEN:
            yield (
                f'grpo.importance_sampling_level = "sequence" with loss_type = "{grpo.loss_type}" '
                "sums "
                "the loss over tokens, so long completions weigh more; GSPO uses loss_type = "
                '"grpo".'
            )
        if grpo.epsilon >= GSPO_WIDE_EPSILON:
            yield (
                f'grpo.epsilon = {grpo.epsilon:g} with importance_sampling_level = "sequence" '
                "clips "
                "almost nothing; GSPO uses epsilon = 3e-4 and epsilon_high = 4e-4."
            )
    elif grpo.loss_type == "luspo":
        yield 'grpo.loss_type = "luspo" is meant for importance_sampling_level = "sequence".'
    if grpo.loss_type == "vespo" and grpo.importance_sampling_level != "token":
        yield (
            'grpo.loss_type = "vespo" weighs whole sequences itself and is meant for '
            'importance_sampling_level = "token".'
        )
