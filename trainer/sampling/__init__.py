"""Which prompts come next, and how many completions each gets."""
