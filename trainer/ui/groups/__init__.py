"""Groups: what did it write, and what was it paid? One prompt and its completions beside each other."""
