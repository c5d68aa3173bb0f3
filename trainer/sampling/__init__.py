"""Which prompts come next, and how many completions each gets.

    order        all rows in their turn, one group of the same size each: the default (TRL's sampler, repeatable)
    sampler      everything else: what comes next, what it is told of the groups, its state in a checkpoint
    passes       the rows of a pool, each once before any comes again
    levels       rows by how hard they are
    curriculum   which level's rows are drawn, and when the next level comes
    skipping     prompts that taught nothing are left out more and more often
    group_size   completions of each prompt within a fixed sum
    history      what is remembered of each row

Pure decisions: no torch but in `order`. What is generated, scored and thrown away is trainer.grpo.rounds'.
"""
