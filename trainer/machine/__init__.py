"""This machine: its processes and how one is started, its GPUs and what GPUs can do, its files. Knows nothing of runs.

process        identity that survives a reused pid, exact signals, locks
spawn          the one way to start a detached process
gpu            the GPUs that are here, by NVML; gpu_models: what a GPU can do, by its data sheet
environment    versions, cores, memory: what a run writes to env.json
secrets        what is secret of an environment, and how it is taken out of a text
out_of_memory  what a device says when it has no memory left
json_files     small files, whole or not at all; folders: private ones; project: where the project is
"""
