"""The command line: its commands, and a run followed on a terminal or into a pipe."""
