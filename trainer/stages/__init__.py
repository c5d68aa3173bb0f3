"""What can stand before or beside GRPO: methods that learn from examples which are there before the first step.

    tokens     a written text as the tokens that GRPO would have sampled
    samples    completions of the starting policy, kept in the run's folder
    examples   examples of each method: from gold answers, from right completions, from pairs
    config     the settings as arguments of TRL's SFTConfig and DPOConfig
    trainers   TRL's SFTTrainer and DPOTrainer with the hooks of every run

online_rft is no stage of its own: it is GRPO with another coefficient (trainer/grpo/advantages.py).
"""
