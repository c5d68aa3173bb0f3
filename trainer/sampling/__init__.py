"""Which prompts come next: the order of an epoch, the same after a resume."""
