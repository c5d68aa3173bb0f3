"""Health: every signal with its state, its meaning, its rule and what to do."""
