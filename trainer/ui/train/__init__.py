"""Train: what can be taught here, every setting, the plan, and Start."""
