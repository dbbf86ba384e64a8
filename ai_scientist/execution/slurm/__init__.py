"""Slurm: each run a job of its own, or each worker of the queue one.

sbatch, squeue, sacct and scancel are called directly. submitit was tried and left: it exchanges
pickles where our outcome is a file already, and its states need an accounting database, which many
clusters do not have (there `job.state` stays UNKNOWN, and lost jobs are never told from slow ones).
"""
