"""Runs that were made elsewhere: an exported W&B history becomes a run directory, for `report` and the page.

    exported_files  exported CSV and JSON -> rows      settings  W&B's config -> what is known of the spec
    history         rows -> steps and evaluations      bring     all of it -> outputs/<run>/

Torch-free. Knows nothing about trainers; W&B itself is never asked.
"""
