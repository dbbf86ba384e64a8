"""Runs, and batches of them, as jobs of a real Slurm of one node."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from ai_scientist.errors import SetupError
from ai_scientist.execution.slurm.client import CouldNotAsk, SlurmClient, client_environment
from ai_scientist.execution.slurm.executor import SlurmExecutor
from ai_scientist.execution.slurm.options import SlurmOptions, parse_slurm_options
from ai_scientist.machine.leases import look_at_lease
from ai_scientist.queue.arrays import ArrayWorkers
from ai_scientist.queue.batch import gather_ideas
from ai_scientist.queue.entries import Item, QueueState
from ai_scientist.records import Execution, ExitCause
from tests.doors import PROJECT
from tests.queue_batches import DOUBLE, BatchPlace, idea_content
from tests.slurm_cluster import GPUS, Cluster, running_cluster
from tests.slurm_runs import end, has_begun, result, slurm_request, staging_of, submissions
from tests.waiting import PATIENCE_S, wait_until


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


@pytest.mark.slow
def test_eight_runs_over_four_gpus(start: Start) -> None:
    """Each run sees the device of its own GPU and no other, and all four are used."""
    runs = [start(f"run_{n}/execution_1", seconds=0.5) for n in range(8)]
    ended = [run.result(PATIENCE_S) for run in runs]
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
    request = slurm_request(tmp_path, "run_1/execution_1", seconds=600)
    with ThreadPoolExecutor(1) as threads:
        run = threads.submit(executor.run, request)
        wait_until(lambda: has_begun(tmp_path, request.key), what="the start")
        held = look_at_lease(request.staging)
        assert held
        assert held.holder
        environment = Path(f"/proc/{held.holder.pid}/environ").read_bytes()
        assert b"SLURM_JOB_ID" in environment
        assert b"sk-1" not in environment
        assert b"SBATCH" not in environment
        executor.cancel()
        assert run.result(PATIENCE_S).cause is ExitCause.CANCELLED
    wait_until(lambda: not cluster.call("squeue", "-h", f"--name={_name(request.staging)}"),
               what="the job's end")  # fmt: skip


def _name(staging: Path) -> str:
    name: str = json.loads((staging / "job.json").read_text())["name"]
    return name


@pytest.mark.slow
def test_a_partition_that_does_not_exist(start: Start) -> None:
    """Plain words, and the partitions there are; nothing was submitted."""
    with pytest.raises(SetupError, match="refuses the job: invalid partition name") as caught:
        start("run_1/execution_1", "partition=nowhere").result(PATIENCE_S)
    assert caught.value.hint == "this cluster's partitions: gpu, scavenge, short"


@pytest.mark.slow
def test_the_controller_is_killed_and_comes_back(
    start: Start, cluster: Cluster, tmp_path: Path, told: list[str]
) -> None:
    """With slurmctld killed by -9 while jobs run and wait, each ends all the same."""
    keys = [f"run_{n}/execution_1" for n in range(6)]
    runs = [start(key, seconds=600) for key in keys]
    wait_until(lambda: len(cluster.call("squeue", "-h").splitlines()) >= 6, what="six jobs")
    wait_until(lambda: sum(has_begun(tmp_path, key) for key in keys) == GPUS, what="four starts")
    cluster.save_state()
    cluster.kill_controller()
    with pytest.raises(CouldNotAsk):
        cluster.client.jobs("anything")
    cluster.start_controller()
    for key in keys:
        end(tmp_path, key)
    assert {run.result(PATIENCE_S).cause for run in runs} == {ExitCause.EXIT}
    for key in keys:
        request = slurm_request(tmp_path, key)
        log = (request.staging / "slurm.out").read_text() if submissions(request) > 1 else ""
        assert "error" not in log


@pytest.mark.slow
def test_cancelled_from_outside(start: Start, cluster: Cluster, tmp_path: Path) -> None:
    """A person's scancel ends the run with a reason that says so, and nothing is left running."""
    run = start("run_1/execution_1", seconds=600)
    wait_until(lambda: has_begun(tmp_path, "run_1/execution_1"), what="the start")
    staging = staging_of(tmp_path, "run_1/execution_1")
    cluster.call("scancel", f"--name={_name(staging)}")
    execution = run.result(PATIENCE_S)
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
    execution = start("run_1/execution_1", seconds=600, timeout_s=1).result(PATIENCE_S)
    assert execution.cause is ExitCause.TIMEOUT
    assert execution.reason == "stopped after 1 s"
    assert execution.sandbox_tier.startswith("bubblewrap")


@pytest.mark.slow
def test_a_preempted_job_is_run_again(
    start: Start, cluster: Cluster, tmp_path: Path, told: list[str]
) -> None:
    """A job that made room for another one is submitted again, and its run is made whole."""
    low = start("run_1/execution_1", "partition=scavenge,gpus=4", seconds=600)
    wait_until(lambda: has_begun(tmp_path, "run_1/execution_1"), what="the start")
    high = start("run_2/execution_1", "partition=gpu,gpus=4", seconds=0.2)
    assert high.result(PATIENCE_S).cause is ExitCause.EXIT
    end(tmp_path, "run_1/execution_1")
    assert low.result(PATIENCE_S).cause is ExitCause.EXIT
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
executor.run(slurm_request(Path(sys.argv[2]), "run_1/execution_1", seconds=600))
"""


@pytest.mark.slow
def test_a_killed_launcher_finds_its_job(cluster: Cluster, tmp_path: Path, start: Start) -> None:
    """When the launcher is killed by -9 the job goes on, and whoever resumes waits for it."""
    command = [sys.executable, "-c", LAUNCHER, str(cluster.folder), str(tmp_path)]
    launcher = subprocess.Popen(command, cwd=PROJECT)
    wait_until(lambda: has_begun(tmp_path, "run_1/execution_1"), what="the start")
    launcher.kill()
    launcher.wait()
    resumed = start("run_1/execution_1", seconds=600)
    end(tmp_path, "run_1/execution_1")
    execution = resumed.result(PATIENCE_S)
    assert execution.cause is ExitCause.EXIT
    request = slurm_request(tmp_path, "run_1/execution_1")
    assert submissions(request) == 1
    assert start("run_1/execution_1").result(PATIENCE_S) == execution
    assert submissions(request) == 1


@pytest.mark.slow
def test_slurms_own_limit(start: Start, cluster: Cluster, tmp_path: Path) -> None:
    """A job that Slurm ends at its limit is a time-out that says which limit."""
    run = start("run_1/execution_1", "time=1", seconds=600, timeout_s=600)
    wait_until(lambda: has_begun(tmp_path, "run_1/execution_1"), what="the start")
    job = cluster.call(
        "squeue", "-h", "-o", "%i", f"--name={_name(staging_of(tmp_path, 'run_1/execution_1'))}"
    )
    cluster.call("scontrol", "update", f"JobId={job.strip()}", "EndTime=now+1")
    execution = run.result(PATIENCE_S)
    assert execution.cause is ExitCause.TIMEOUT
    assert "Slurm ended the job at its time limit (1)" in execution.reason


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
