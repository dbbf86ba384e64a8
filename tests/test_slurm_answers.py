"""What Slurm is asked and how its answers are read; stand-ins say what one node cannot show."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ai_scientist.errors import InputError, SetupError
from ai_scientist.execution.slurm.client import CouldNotAsk, SlurmClient, client_environment
from ai_scientist.execution.slurm.executor import SlurmExecutor
from ai_scientist.execution.slurm.options import SlurmOptions, parse_slurm_options
from ai_scientist.records import Execution, ExitCause
from tests.slurm_runs import slurm_request


def test_options_are_read() -> None:
    """Pairs stand between commas; a value may hold commas; dashes and underscores are one."""
    options = parse_slurm_options("partition=a,b,account=me,gpus=2,time=1-12:00:00,max-jobs=4")
    assert options == SlurmOptions(
        partition="a,b", account="me", gpus=2, time="1-12:00:00", max_jobs=4
    )
    assert options.place() == ["--partition=a,b", "--account=me"]
    assert options.gres(2) == ["--gres=gpu:2"]
    assert SlurmOptions(gpu_type="a100").gres(1) == ["--gres=gpu:a100:1"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("partition", "`partition` is no KEY=VALUE"),
        ("partiton=gpu", "no key `partiton`"),
        ("gpus=two", "`gpus=two` is no whole number"),
        ("cpus=0", "no whole number from 1 up"),
        ("time=soon", "expected minutes"),
        ("mem=lots", "expected a size"),
        ("account=a;rm -rf", "expected a name"),
        ("account=--wrap=x", "expected a name"),
        ("gpus=1,gpus=2", "`gpus` is there twice"),
        ("per=job", "expected run or idea"),
    ],
)
def test_wrong_options_are_said(text: str, said: str) -> None:
    """A pair that is wrong is named, with what was expected; near keys are offered."""
    with pytest.raises(InputError) as caught:
        parse_slurm_options(text)
    assert said in caught.value.message
    assert caught.value.hint


def _stand_in(folder: Path, **scripts: str) -> SlurmClient:
    """Return a client whose commands are these shell scripts, for what one node cannot show."""
    commands = folder / "bin"
    commands.mkdir(exist_ok=True)
    for name, script in scripts.items():
        (commands / name).write_text(f"#!/bin/sh\ncd {folder}\n{script}\n")
        (commands / name).chmod(0o755)
    return SlurmClient({"PATH": f"{commands}:/usr/bin:/bin"})


def test_no_slurm(tmp_path: Path) -> None:
    """Where there is no sbatch, that is said, before anything is written off."""
    client = SlurmClient({"PATH": str(tmp_path)})
    with pytest.raises(SetupError, match="sbatch is not here"):
        SlurmExecutor(client, SlurmOptions()).run(slurm_request(tmp_path, "run_1/execution_1"))


@pytest.mark.parametrize(
    ("state", "cause", "said"),
    [
        ("OUT_OF_MEMORY", ExitCause.MEMORY, "more memory than 550M"),
        ("TIMEOUT", ExitCause.TIMEOUT, "time limit (13)"),
        ("DEADLINE", ExitCause.TIMEOUT, "deadline"),
        ("CANCELLED", ExitCause.CANCELLED, "was cancelled from outside"),
    ],
)
def test_ends_are_told_apart(tmp_path: Path, state: str, cause: ExitCause, said: str) -> None:
    """How Slurm ended a job becomes a cause and a sentence; CANCELLED alone may be run again."""
    client = _stand_in(
        tmp_path, sbatch="echo 7; echo x >> submitted", squeue=f"echo '7|{state}|None'"
    )
    request = slurm_request(tmp_path, "run_1/execution_1")
    execution = SlurmExecutor(client, SlurmOptions()).run(request)
    assert execution.cause is cause
    assert said in execution.reason
    SlurmExecutor(client, SlurmOptions()).run(request)
    again = 2 if cause is ExitCause.CANCELLED else 1
    assert len((tmp_path / "submitted").read_text().split()) == again


@pytest.mark.parametrize(
    ("state", "cause"),
    [
        ("TIMEOUT", ExitCause.TIMEOUT),
        ("OUT_OF_MEMORY", ExitCause.MEMORY),
        ("COMPLETED", ExitCause.KILLED),
    ],
)
def test_slurm_knows_who_killed(tmp_path: Path, state: str, cause: ExitCause) -> None:
    """A run that was seen killed from outside is told with what Slurm says of its job."""
    request = slurm_request(tmp_path, "run_1/execution_1")
    outcome = {
        "key": request.key, "cause": "killed", "returncode": -15, "seconds": 1.0, "gpus": [],
        "peak_memory_gb": 0.0, "started_at": "", "sandbox_tier": "bubblewrap", "host": "n",
        "reason": "ended by SIGTERM",
    }  # fmt: skip
    (tmp_path / "seen.json").write_text(json.dumps(outcome))
    client = _stand_in(
        tmp_path,
        sbatch=f"cp seen.json {request.staging}/outcome.json; echo 7",
        squeue=f"echo '7|{state}|None'",
    )
    assert SlurmExecutor(client, SlurmOptions()).run(request).cause is cause


def test_a_lost_node_is_retried_and_then_said(tmp_path: Path) -> None:
    """A job whose node failed is submitted again under a new name, a bounded number of times."""
    client = _stand_in(
        tmp_path, sbatch='echo "$2" >> submitted; echo 7', squeue="echo '7|NODE_FAIL|None'"
    )
    with pytest.raises(SetupError, match="5 Slurm jobs were lost, the last one lost its node"):
        SlurmExecutor(client, SlurmOptions()).run(slurm_request(tmp_path, "run_1/execution_1"))
    names = (tmp_path / "submitted").read_text().split()
    assert len(set(names)) == len(names) == 5


def test_accounts_are_asked_where_there_are_any(tmp_path: Path) -> None:
    """A job that squeue forgot is looked up in sacct; without accounts it is gone, not unknown."""
    client = _stand_in(tmp_path, squeue="", sacct="echo '7|TIMEOUT'")
    assert [view.state for view in client.jobs("x")] == ["TIMEOUT"]
    none = _stand_in(
        tmp_path, squeue="", sacct="echo 'Slurm accounting storage is disabled' >&2; exit 1"
    )
    assert none.jobs("x") == []
    silent = _stand_in(tmp_path, squeue="echo 'slurm_load_jobs error: Unable to contact slurm "
                       "controller (connect failure)' >&2; exit 1")  # fmt: skip
    with pytest.raises(CouldNotAsk):
        silent.jobs("x")


def test_what_never_starts_is_said(tmp_path: Path) -> None:
    """A job that Slurm will never start ends the wait, and is taken back."""
    client = _stand_in(
        tmp_path, sbatch="echo 7", squeue="echo '7|PENDING|PartitionTimeLimit'",
        scancel="echo $* > cancelled",
    )  # fmt: skip
    with pytest.raises(SetupError, match="never start the job 7: PartitionTimeLimit"):
        SlurmExecutor(client, SlurmOptions()).run(slurm_request(tmp_path, "run_1/execution_1"))
    assert "--name=ais-" in (tmp_path / "cancelled").read_text()


def test_the_environment_stays_here() -> None:
    """Keys, and variables that would change what is asked for, never reach Slurm's commands."""
    given = {"PATH": "/bin", "OPENAI_API_KEY": "sk", "SBATCH_PARTITION": "x", "SLURM_JOB_ID": "3"}
    assert set(client_environment(given)) == {"PATH", "LC_ALL"}


def test_rehearsals_stay_here(tmp_path: Path) -> None:
    """A run in the smoke profile is handed to the local executor; no job is submitted."""
    seen = []

    class Local:
        def run(self, request: object) -> Execution:
            seen.append(request)
            raise InputError("as far as this test goes")

    request = slurm_request(tmp_path, "run_1/edit_1/smoke")
    smoke = type(request)(**{**request.__dict__, "environment": {"AI_SCIENTIST_PROFILE": "smoke"}})
    executor = SlurmExecutor(_stand_in(tmp_path), SlurmOptions(), rehearse=Local())
    with pytest.raises(InputError, match="as far"):
        executor.run(smoke)
    assert seen == [smoke]
