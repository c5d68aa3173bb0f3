"""Groups: what did it write, and what reward did it get? One prompt and its completions beside each other."""
