"""What page, console and report share: charts, how numbers and foreign text are written, HTML that stays inert."""
