"""The trainer: what is hooked into TRL's GRPOTrainer (or Unsloth's) and nothing else."""
