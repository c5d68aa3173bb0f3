"""What page and report share: charts, downsampling, inert HTML. How numbers are written is in trainer.text."""
