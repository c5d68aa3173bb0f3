"""The run directory outputs/<run>/: its file names, its event log, what follows from it, its checkpoints and rollouts.

    rundir         the owner of all file names; runs by name; unreadable: what is said of one that cannot be read
    outputs        the folder they lie in; free names
    records        the kinds of events, a typed record each; events: the writer, the incremental reader
    columns state  events folded into columns and what a run has done so far
    status summary what became of it; what it came to
    stop_requests  what is asked of a worker, left in control/
    checkpoints    whole or not there: staged, hashed, renamed; best: which one; rewind: going back to an older one
    rollouts       writes rollouts/step_N.jsonl, groups reads them

Torch-free. Knows nothing of how a worker is started or of what is shown.
"""
