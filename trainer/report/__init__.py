"""From a run's events to a report on it. Torch-free.

material          what rules and reports read of a run      sections    findings and numbers -> blocks, in one language
series            what a series of numbers does             document    the blocks; markdown, html: their form
rules             material -> findings with advice          compare     two runs or more
finding           what a rule finds                         write       the files
afterwards        by a process of its own, when a run has ended

The words are in trainer.text, the folded events in trainer.run.state.
"""
