"""Slurm's own commands, with answers told apart: yes, no, gone, and "could not ask".

A controller that restarts, or is overrun, answers nothing for minutes; that says nothing about the
jobs, so it is an exception here and never a state.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ai_scientist.errors import ScientistError, SetupError

ANSWERS_S = 60.0
UNREACHABLE = re.compile(
    r"unable to contact|socket timed out|connection (refused|reset|timed out)|zero bytes|"
    r"communications? (connection )?(failure|error|shutdown)|try again|temporarily|standby mode|"
    r"unable to establish|send/recv|resource temporarily|timed out|is being (started|reconfigured)|"
    r"backup controller|protocol authentication|munge|slurm_load_jobs error: unexpected message",
    re.IGNORECASE,
)
NO_ACCOUNTING = re.compile(r"accounting storage is disabled|slurmdbd|_open_persist_conn", re.I)
KEPT = ("PATH", "HOME", "USER", "LOGNAME", "SLURM_CONF")


class CouldNotAsk(ScientistError):
    """Slurm did not answer. Nothing is known; ask again later."""


class Refused(ScientistError):
    """Slurm answered, and said no."""


@dataclass(frozen=True, kw_only=True)
class JobView:
    """What Slurm says of one job."""

    job_id: str
    state: str
    """In Slurm's words, such as PENDING, RUNNING, COMPLETED, OUT_OF_MEMORY."""
    reason: str = ""
    """Why it is pending, or more on how it ended."""


def client_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Return what Slurm's commands get of the person's environment.

    No key can travel on to a job, and no SBATCH_ or SLURM_ variable of an allocation around us
    changes what is asked for.
    """
    kept = {name: variables[name] for name in KEPT if name in variables}
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C.UTF-8"} | kept


class SlurmClient:
    """Calls sbatch, squeue, sacct, scancel and sinfo."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)
        self._accounting = True

    def submit(self, script: Path, arguments: Sequence[str], *, name: str) -> str:
        """Submit `script` as the job `name` and return its id.

        Raises CouldNotAsk when it is not known whether the job was taken, Refused otherwise.
        """
        arguments = ["--parsable", f"--job-name={name}", *arguments, str(script)]
        answer = self._call("sbatch", arguments)
        return answer.strip().split(";")[0]

    def jobs(self, name: str) -> list[JobView]:
        """Return the jobs called `name`, the newest first; none: Slurm knows of none (any more).

        squeue knows a finished job for some minutes (MinJobAge), sacct for long, where a cluster
        keeps accounts. Raises CouldNotAsk.
        """
        shown = ["--noheader", "--states=all", f"--name={name}", "--format=%i|%T|%r"]
        lines = self._call("squeue", shown).splitlines()
        found = [line.split("|", 2) for line in lines if line.count("|") >= 2]
        views = [JobView(job_id=i.strip(), state=s.strip(), reason=r.strip()) for i, s, r in found]
        return newest_first(views) or self._past(name)

    def _past(self, name: str) -> list[JobView]:
        """Ask the accounts, where there are any."""
        if not self._accounting:
            return []
        shown = ["-X", "--noheader", "--parsable2", f"--name={name}", "--starttime=now-7days"]
        try:
            lines = self._call("sacct", [*shown, "--format=JobIDRaw,State"]).splitlines()
        except Refused as error:
            self._accounting = not NO_ACCOUNTING.search(error.message)
            return []
        except SetupError:
            self._accounting = False
            return []
        rows = [line.split("|") for line in lines if "|" in line]
        views = [JobView(job_id=row[0], state=row[1].split(" ")[0], reason=row[1]) for row in rows]
        return newest_first(views)

    def cancel(self, name: str) -> None:
        """Cancel every job called `name`; harmless when there is none. Raises CouldNotAsk."""
        self._call("scancel", ["--quiet", f"--name={name}"])

    def partitions(self) -> list[str]:
        """Return the cluster's partitions, or nothing where that cannot be asked."""
        try:
            return sorted(set(self._call("sinfo", ["--noheader", "--format=%R"]).split()))
        except ScientistError:
            return []

    def _call(self, program: str, arguments: Sequence[str]) -> str:
        try:
            done = subprocess.run(
                [program, *arguments],
                capture_output=True,
                stdin=subprocess.DEVNULL,
                env=self._environment,
                timeout=ANSWERS_S,
                check=False,
                text=True,
                errors="replace",
            )
        except FileNotFoundError:
            raise SetupError(
                f"{program} is not here, so there is no Slurm to talk to",
                hint="log in to the cluster's login node, or use --executor local",
            ) from None
        except subprocess.TimeoutExpired:
            raise CouldNotAsk(f"{program} did not answer within {ANSWERS_S:g} s") from None
        said = done.stderr.strip()
        if done.returncode == 0:
            return done.stdout
        if UNREACHABLE.search(said) and not NO_ACCOUNTING.search(said):
            raise CouldNotAsk(f"{program}: {said.splitlines()[-1]}")
        raise Refused(f"{program}: {said or f'ended with status {done.returncode}'}")


def newest_first(views: Sequence[JobView]) -> list[JobView]:
    """Sort jobs by their number."""
    numbered = {view: re.match(r"\d+", view.job_id) for view in views}
    return sorted(views, key=lambda view: int((numbered[view] or ["0"])[0]), reverse=True)
