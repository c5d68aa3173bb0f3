"""Ask a checkpoint of a run, beside the model as it was before training: from the page, or in a terminal.

    request.py    what may be asked, checked by who asks and again by who answers
    parent.py     start the process that answers, ask it, cancel, end it
    journal.py    answers.jsonl: its lines, written by that process and read by everybody
    reading.py    what is there to be shown: state of the process, newest answers
    worker.py     the process that answers (python -m trainer.tryit RUN_DIR)
    answerer.py   in it: the models, the held-out rows and the rewards
    chat.py       a conversation with loaded weights, for the answerer and for `python -m trainer chat`
    exporting.py  exports as processes of their own, and what is known of them

For the page everything is said in files of outputs/<run>/tryit/: any number of pages shows the same, also one that was
restarted. Importing any of it imports nothing heavy.
"""
