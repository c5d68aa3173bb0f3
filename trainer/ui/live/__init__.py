"""Live: is it learning? One run as it goes: charts, phases, the buttons that steer it, its log."""
