"""How good the model is on rows it never trained on: greedy, sampled, and per epoch as a contest wants it."""
