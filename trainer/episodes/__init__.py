"""Completions of several turns: environments by TRL's contract, in a process of their own with a deadline.

    contract    what an environment must look like, and what of it travels between the processes
    child       the process in which environments run: python -m trainer.episodes.child
    host        its parent: asks with a deadline, replaces it, plays again what it had played
    table       what TRL is given: a stand-in for each environment, with its tools
    check       a scripted conversation before training
    library     environments by name
    openenv     environments on an OpenEnv server

Imports no torch: TRL has the loop (trl/trainer/grpo_trainer.py, `_tool_call_loop`), the trainer the advantages.
"""
