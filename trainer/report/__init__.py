"""From events to what a person sees and reads. Torch-free.

fold       events -> RunState, for every view          sections   findings and numbers -> blocks, in one language
material   what rules and reports read of a run        document   the blocks; markdown, html: their form
series     what a series of numbers does               compare    two runs or more
rules      material -> findings with advice            write      the files
floor      what generation costs at least              text       all words, one file per language
"""
