"""From events to what a person sees: folding, reading, writing down. Torch-free."""
