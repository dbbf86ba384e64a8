"""Experiments: one execution from a commit to what was observed, on this machine or on Slurm."""
