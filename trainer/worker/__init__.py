"""The training process: python -m trainer.worker RUN_DIR

__main__       the life of a run, from top to bottom
session        the run, its events, the stop flag and the seconds of one attempt
training       config, rewards, trainer, evaluation put together
observer       from the trainer to the event log; callbacks: what happens at the end of a step; heartbeat
recovery       the same optimizer step in smaller pieces, after the GPU's memory ran out
"""
