"""A durable queue of ideas: files on disk, workers in any number of processes and hosts.

entries, likeness, store   what was asked for and where it stands, one folder per idea
worker                     takes ideas, runs each as a launcher process, settles its end
batch, commands            the doors: a batch from launch_scientist.py, and `queue …`
    progress                   one view over everything, live or as text
"""

from ai_scientist.queue.batch import run_batch
from ai_scientist.queue.commands import add_queue_arguments, queue_command, status_command

__all__ = ["add_queue_arguments", "queue_command", "run_batch", "status_command"]
