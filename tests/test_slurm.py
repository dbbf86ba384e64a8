from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from ai_scientist.errors import InputError, SetupError
from ai_scientist.execution.slurm.client import CouldNotAsk, SlurmClient, client_environment
from ai_scientist.execution.slurm.executor import SlurmExecutor
from ai_scientist.execution.slurm.options import SlurmOptions, parse_slurm_options
from ai_scientist.machine.leases import look_at_lease
from ai_scientist.queue.arrays import ArrayWorkers
from ai_scientist.queue.batch import gather_ideas
from ai_scientist.queue.entries import Item, QueueState
from ai_scientist.records import Execution, ExitCause
from tests.queue_batches import DOUBLE, PROJECT, BatchPlace, idea_content, wait_until
from tests.slurm_cluster import GPUS, Cluster, running_cluster
from tests.slurm_runs import result, slurm_request, submissions

# --- options -------------------------------------------------------------------------------------


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


# --- answers of Slurm's commands, told apart -----------------------------------------------------


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
        ("TIMEOUT", ExitCause.TIMEOUT, "time limit (4)"),
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


# --- a real cluster ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def slurm() -> Iterator[Cluster]:
    """A Slurm of one node with four stand-in GPUs, for all tests of this file."""
    with running_cluster() as up:
        yield up


@pytest.fixture
def cluster(slurm: Cluster) -> Cluster:
    """That Slurm with its node in use, whatever the test before has done to it."""
    slurm.resume_node()
    return slurm


@pytest.fixture
def told() -> list[str]:
    """What the executor reports."""
    return []


Start = Callable[..., Future[Execution]]


@pytest.fixture
def start(cluster: Cluster, tmp_path: Path, told: list[str]) -> Iterator[Start]:
    """Call this with a key, options and seconds=… to start an execution in a thread."""
    executors = []
    with ThreadPoolExecutor(16) as threads:

        def run(key: str, options: str = "", **request: float) -> Future[Execution]:
            executor = SlurmExecutor(
                cluster.client,
                parse_slurm_options(options),
                devices=cluster.devices,
                report=told.append,
            )
            executors.append(executor)
            staged = slurm_request(tmp_path, key, **request)  # type: ignore[arg-type]
            return threads.submit(executor.run, staged)

        yield run
        for executor in executors:
            executor.cancel()


def _began(folder: Path, key: str) -> bool:
    log = folder / key.replace("/", ".") / "stdout.log"
    return log.exists() and "began" in log.read_text()


@pytest.mark.slow
def test_eight_runs_over_four_gpus(start: Start) -> None:
    """Each run sees the device of its own GPU and no other, and all four are used."""
    runs = [start(f"run_{n}/execution_1", seconds=0.5) for n in range(8)]
    ended = [run.result(60) for run in runs]
    assert {execution.cause for execution in ended} == {ExitCause.EXIT}
    for execution in ended:
        assert result(execution) == {"gpus": [f"/dev/nvidia{execution.gpus[0]}"], "visible": "0"}
    assert {execution.gpus[0] for execution in ended} == {str(n) for n in range(GPUS)}


@pytest.mark.slow
def test_no_key_reaches_a_node(cluster: Cluster, tmp_path: Path) -> None:
    """The job's own process has none of the submitter's variables."""
    variables = {**cluster.environment, "OPENAI_API_KEY": "sk-1", "SBATCH_PARTITION": "nowhere"}
    client = SlurmClient(client_environment(variables))
    executor = SlurmExecutor(client, SlurmOptions(), devices=cluster.devices)
    request = slurm_request(tmp_path, "run_1/execution_1", seconds=3)
    with ThreadPoolExecutor(1) as threads:
        run = threads.submit(executor.run, request)
        wait_until(lambda: _began(tmp_path, request.key), what="the start")
        held = look_at_lease(request.staging)
        assert held
        assert held.holder
        environment = Path(f"/proc/{held.holder.pid}/environ").read_bytes()
        assert b"SLURM_JOB_ID" in environment
        assert b"sk-1" not in environment
        assert b"SBATCH" not in environment
        executor.cancel()
        assert run.result(30).cause is ExitCause.CANCELLED
    wait_until(lambda: not cluster.call("squeue", "-h", f"--name={_name(request.staging)}"),
               what="the job's end")  # fmt: skip


def _name(staging: Path) -> str:
    name: str = json.loads((staging / "job.json").read_text())["name"]
    return name


@pytest.mark.slow
def test_a_partition_that_does_not_exist(start: Start) -> None:
    """Plain words, and the partitions there are; nothing was submitted."""
    with pytest.raises(SetupError, match="refuses the job: invalid partition name") as caught:
        start("run_1/execution_1", "partition=nowhere").result(30)
    assert caught.value.hint == "this cluster's partitions: gpu, scavenge, short"


@pytest.mark.slow
def test_the_controller_is_killed_and_comes_back(
    start: Start, cluster: Cluster, tmp_path: Path, told: list[str]
) -> None:
    """With slurmctld killed by -9 while jobs run and wait, each ends all the same."""
    keys = [f"run_{n}/execution_1" for n in range(6)]
    runs = [start(key, seconds=15) for key in keys]
    wait_until(lambda: len(cluster.call("squeue", "-h").splitlines()) >= 6, what="six jobs")
    wait_until(lambda: sum(_began(tmp_path, key) for key in keys) == GPUS, what="four starts")
    cluster.save_state()
    cluster.kill_controller()
    with pytest.raises(CouldNotAsk):
        cluster.client.jobs("anything")
    cluster.start_controller()
    assert {run.result(90).cause for run in runs} == {ExitCause.EXIT}
    for key in keys:
        request = slurm_request(tmp_path, key)
        log = (request.staging / "slurm.out").read_text() if submissions(request) > 1 else ""
        assert "error" not in log


@pytest.mark.slow
def test_cancelled_from_outside(start: Start, cluster: Cluster, tmp_path: Path) -> None:
    """A person's scancel ends the run with a reason that says so, and nothing is left running."""
    run = start("run_1/execution_1", seconds=60)
    wait_until(lambda: _began(tmp_path, "run_1/execution_1"), what="the start")
    staging = tmp_path / "run_1.execution_1"
    cluster.call("scancel", f"--name={_name(staging)}")
    execution = run.result(30)
    assert execution.cause is ExitCause.CANCELLED
    assert "cancelled from outside" in execution.reason
    wait_until(lambda: not _alive(str(staging)), what="the tree's end")


def _alive(text: str) -> bool:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if text.encode() in path.read_bytes():
                return True
        except OSError:
            continue
    return False


@pytest.mark.slow
def test_the_runs_own_limit_comes_first(start: Start) -> None:
    """A run that is too slow is ended by the supervisor inside the job, as on one machine."""
    execution = start("run_1/execution_1", seconds=60, timeout_s=1).result(30)
    assert execution.cause is ExitCause.TIMEOUT
    assert execution.reason == "stopped after 1 s"
    assert execution.sandbox_tier.startswith("bubblewrap")


@pytest.mark.slow
def test_a_preempted_job_is_run_again(
    start: Start, cluster: Cluster, tmp_path: Path, told: list[str]
) -> None:
    """A job that made room for another one is submitted again, and its run is made whole."""
    low = start("run_1/execution_1", "partition=scavenge,gpus=4", seconds=3)
    wait_until(lambda: _began(tmp_path, "run_1/execution_1"), what="the start")
    high = start("run_2/execution_1", "partition=gpu,gpus=4", seconds=0.2)
    assert high.result(60).cause is ExitCause.EXIT
    assert low.result(60).cause is ExitCause.EXIT
    assert any("made room for another job" in line for line in told)


LAUNCHER = """
import sys
from pathlib import Path
from ai_scientist.execution.slurm.client import SlurmClient
from ai_scientist.execution.slurm.executor import SlurmExecutor
from ai_scientist.execution.slurm.options import SlurmOptions
from tests.slurm_cluster import Cluster
from tests.slurm_runs import slurm_request
cluster = Cluster(Path(sys.argv[1]))
executor = SlurmExecutor(cluster.client, SlurmOptions(), devices=cluster.devices)
executor.run(slurm_request(Path(sys.argv[2]), "run_1/execution_1", seconds=3))
"""


@pytest.mark.slow
def test_a_killed_launcher_finds_its_job(cluster: Cluster, tmp_path: Path, start: Start) -> None:
    """When the launcher is killed by -9 the job goes on, and whoever resumes waits for it."""
    command = [sys.executable, "-c", LAUNCHER, str(cluster.folder), str(tmp_path)]
    launcher = subprocess.Popen(command, cwd=PROJECT)
    wait_until(lambda: _began(tmp_path, "run_1/execution_1"), what="the start")
    launcher.kill()
    launcher.wait()
    execution = start("run_1/execution_1", seconds=3).result(60)
    assert execution.cause is ExitCause.EXIT
    request = slurm_request(tmp_path, "run_1/execution_1")
    assert submissions(request) == 1
    began = time.time()
    assert start("run_1/execution_1").result(5) == execution
    assert time.time() - began < 1


@pytest.mark.slow
def test_slurms_own_limit(start: Start, cluster: Cluster, tmp_path: Path) -> None:
    """A job that Slurm ends at its limit is a time-out that says which limit."""
    run = start("run_1/execution_1", "time=1", seconds=300, timeout_s=300)
    wait_until(lambda: _began(tmp_path, "run_1/execution_1"), what="the start")
    job = cluster.call(
        "squeue", "-h", "-o", "%i", f"--name={_name(tmp_path / 'run_1.execution_1')}"
    )
    cluster.call("scontrol", "update", f"JobId={job.strip()}", "EndTime=now+1")
    execution = run.result(100)
    assert execution.cause is ExitCause.TIMEOUT
    assert "Slurm ended the job at its time limit (1)" in execution.reason


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


# --- batches over Slurm --------------------------------------------------------------------------


@pytest.mark.slow
def test_eight_ideas_run_per_job(cluster: Cluster, tmp_path: Path) -> None:
    """Eight ideas, each run a job; the batch killed by -9 half-way: nothing lost, nothing twice."""
    place = BatchPlace(tmp_path)
    double = {"runs": 2, "seconds": 0.5, "gpus": 1, "slurm": str(cluster.folder)}
    ideas = place.write_ideas(*(idea_content(f"i{n}", **double) for n in range(8)))
    batch = place.start("--ideas", str(ideas), "--workers", "8")
    wait_until(lambda: len(_records(place)) >= 4, what="four runs")
    batch.kill()
    batch.communicate()
    code, printed = place.batch("--ideas", str(ideas), "--workers", "8")
    assert code == 0, printed
    assert _records(place) == sorted(f"i{n}/run_{r}" for n in range(8) for r in (1, 2))
    seen = [json.loads(path.read_text()) for path in place.runs.glob("*_i*/.staging/*/source/*/*")]
    assert len(seen) == 16
    assert all(len(run["gpus"]) == 1 for run in seen)


def _records(place: BatchPlace) -> list[str]:
    """Every execution in every journal, as idea/run; one that stood there twice would show."""
    found = []
    for journal in place.runs.glob("*_i*/events.jsonl"):
        for line in journal.read_text().splitlines():
            if "/execution_1" in line:
                name = journal.parent.name.partition("_")[2]
                found.append(f"{name}/{json.loads(line)['key'].partition('/')[0]}")
    return sorted(found)


@pytest.mark.slow
def test_ideas_per_job(cluster: Cluster, tmp_path: Path) -> None:
    """An array whose jobs are workers: one of them cancelled, every idea is done, once."""
    place = BatchPlace(tmp_path)
    ideas = place.write_ideas(*(idea_content(f"i{n}", runs=2, seconds=0.5) for n in range(4)))
    place.queue.add(list(gather_ideas([], [str(ideas)], ideas).ideas))
    told: list[str] = []
    workers = ArrayWorkers(
        queue=place.queue,
        client=cluster.client,
        options=parse_slurm_options("gpus=1,mem=500M,time=10"),
        worker=[sys.executable, str(DOUBLE / "worker.py"), str(place.runs)],
        folder=PROJECT,
        variables=["PYTHONPATH"],
        report=told.append,
    )
    workers.client = SlurmClient({**cluster.environment, "PYTHONPATH": str(PROJECT)})
    cancelled: list[str] = []

    def watch(items: list[Item]) -> None:
        if not cancelled and place.ended():
            cancelled.append(cluster.call("squeue", "-h", "-r", "-t", "R", "-o", "%i").split()[0])
            cluster.call("scancel", cancelled[0])

    workers.run(lambda items: {item.state.state for item in items} == {QueueState.DONE}, watch)
    assert cancelled
    assert place.ended() == sorted(f"i{n}/run_{r}" for n in range(4) for r in (1, 2))
    assert told, "at least one array"


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
