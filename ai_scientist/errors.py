"""What can go wrong, and who is told.

* ScientistError
  x InputError       a file, an option or a folder is not what it must be      -> the person, exit 2
  x SetupError       this machine lacks something the work needs               -> the person, exit 2
  x ModelError       the model's server refused, is unreachable or misfits     -> the person, exit 1
  x BudgetSpent      the next step would pass a cap; resumable                 -> the person, exit 1
  x FolderBusy       another process holds the run folder                      -> the person, exit 2
  x Waiting          a person's decision is needed; resumable                  -> the person, exit 3
  x ResultError      a run left no readable result                             -> the coder
  x ReplyError       a reply cannot be used as it is                           -> the model

Anything else that is raised is a bug and keeps its traceback.
"""

from __future__ import annotations


class ScientistError(Exception):
    """Base of every error raised on purpose: one plain sentence, and one that says the remedy."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InputError(ScientistError):
    """A file, an option or a folder is not what it must be; the message names the place."""


class SetupError(ScientistError):
    """This machine lacks something the work needs; the hint is the command that brings it."""


class ModelError(ScientistError):
    """The model's server refused for good, cannot be reached, or has no fitting reply."""


class BudgetSpent(ScientistError):
    """The next step would pass a cap. What was done is kept; a larger cap resumes it."""


class FolderBusy(ScientistError):
    """Another process holds the run folder's lock."""


class Waiting(ScientistError):
    """A person's decision is needed before the next step."""


class ResultError(ScientistError):
    """A run left no readable result; the message is written for the coder."""


class ReplyError(ScientistError):
    """A model's reply cannot be used as it is; the message is written for the model."""
