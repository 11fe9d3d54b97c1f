"""The shipped scripts under a real SLURM: `make cluster`, as root, with slurm-wlm installed."""
