"""How good the model is on rows it never trained on."""
