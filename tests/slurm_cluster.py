"""A real Slurm of one node, in a folder and on ports of its own, with stand-in GPUs.

Needs Debian's slurmctld, slurmd, slurm-client and munge (scripts/setup-slurm.sh) and root, for the
device nodes. The GPUs are character devices under their usual names: Slurm hands them out, and the
sandbox binds them, exactly as it does NVIDIA's.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ai_scientist.execution.slurm.client import SlurmClient, client_environment
from tests.waiting import PATIENCE_S

GPUS = 4
SEARCH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol")
CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
PreemptType=preempt/partition_prio
PreemptMode=CANCEL
ReturnToService=2
MpiDefault=none
KillWait=2
UnkillableStepTimeout=20
OverTimeLimit=0
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=16 RealMemory=64000 Gres=gpu:{gpus} State=UNKNOWN
PartitionName=gpu Nodes={host} Default=YES MaxTime=INFINITE PriorityTier=10 PreemptMode=OFF
PartitionName=scavenge Nodes={host} MaxTime=INFINITE PriorityTier=1 PreemptMode=CANCEL
PartitionName=short Nodes={host} MaxTime=1 PriorityTier=10 PreemptMode=OFF
"""


@dataclass
class Cluster:
    """A running Slurm."""

    folder: Path
    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def devices(self) -> Path:
        """Folder of the stand-in GPUs."""
        return self.folder / "dev"

    @property
    def environment(self) -> dict[str, str]:
        """What Slurm's commands need to find it."""
        return client_environment({"SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": SEARCH})

    @property
    def client(self) -> SlurmClient:
        """Slurm's commands."""
        return SlurmClient(self.environment)

    def call(self, *command: str) -> str:
        """Run one of Slurm's commands and return what it printed."""
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=True
        )
        return done.stdout

    def start_controller(self) -> None:
        """Start slurmctld, with the state it saved, and wait until the node is there."""
        self._start("slurmctld", "-D", "-f", f"{self.folder}/slurm.conf")
        self._wait_until(self._is_up, "its node did not come up")

    def save_state(self) -> None:
        """Wait until slurmctld has written down what runs and what waits.

        A job whose start was not written is started again by the next slurmctld; the node finds
        its number in use, and drains.
        """
        saved = self.folder / "state" / "job_state"
        asked = time.time()
        for job in self.call("squeue", "-h", "-o", "%A").split():
            self.call("scontrol", "update", f"JobId={job}", "Comment=saved")  # a change: it saves
        self._wait_until(lambda: saved.stat().st_mtime > asked, "slurmctld did not save its state")

    def resume_node(self) -> None:
        """Take the node back into use where what one test did has drained it."""
        for host in self.call("sinfo", "-h", "-N", "-t", "drain,down", "-o", "%N").split():
            self.call("scontrol", "update", f"NodeName={host}", "State=RESUME")

    def kill_controller(self) -> None:
        """Kill slurmctld with -9."""
        self.daemons["slurmctld"].kill()
        self.daemons.pop("slurmctld").wait()

    def start(self) -> None:
        """Start the daemons."""
        missing = [one for one in PROGRAMS if not shutil.which(one, path=SEARCH)]
        if missing:
            self.fail(f"{', '.join(missing)} not installed; run scripts/setup-slurm.sh")
        if os.geteuid() != 0:
            self.fail("the stand-in GPUs need root to be made")
        ports = _free_ports()
        for name in ("munge", "state", "spool", "dev"):
            (self.folder / name).mkdir(mode=0o755)
        for number in range(GPUS):
            node = self.devices / f"nvidia{number}"
            os.mknod(node, stat.S_IFCHR | 0o666, os.makedev(1, 3))
            node.chmod(0o666)
        host = socket.gethostname().split(".")[0]
        conf = CONF.format(
            host=host, folder=self.folder, gpus=GPUS, controller_port=ports[0], node_port=ports[1]
        )
        (self.folder / "slurm.conf").write_text(conf)
        (self.folder / "gres.conf").write_text(
            f"NodeName={host} Name=gpu Flags=nvidia_gpu_env "
            f"File={self.devices}/nvidia[0-{GPUS - 1}]\n"
        )
        munge = self.folder / "munge"
        (munge / "key").write_bytes(os.urandom(128))
        (munge / "key").chmod(0o600)
        files = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "log",
                 "seed-file": "seed"}  # fmt: skip
        self._start(
            "munged", "--foreground", "--force", "--num-threads=2",
            *(f"--{option}={munge / name}" for option, name in files.items()),
        )  # fmt: skip
        self._start("slurmd", "-D", "-f", f"{self.folder}/slurm.conf")
        self.start_controller()

    def stop(self) -> None:
        """Cancel everything and end the daemons."""
        with contextlib.suppress(subprocess.CalledProcessError):
            self.call("scancel", "--user=root")
        for daemon in reversed(list(self.daemons.values())):
            daemon.send_signal(signal.SIGTERM)
        for daemon in self.daemons.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                daemon.wait(30)
            daemon.kill()
            daemon.wait()

    def fail(self, why: str) -> None:
        """Say in a sentence why there is no cluster."""
        logs = [self.folder / f"{name}.out" for name in ("munged", "slurmctld", "slurmd")]
        tails = [log.read_text(errors="replace")[-800:] for log in logs if log.exists()]
        raise RuntimeError("\n".join([f"Slurm cannot be started here: {why}", *tails]))

    def _is_up(self) -> bool:
        try:
            return self.call("sinfo", "-h", "-o", "%T").split()[:1] in (["idle"], ["mixed"])
        except subprocess.CalledProcessError:
            return False

    def _wait_until(self, true: Callable[[], bool], else_said: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not true():
            if time.monotonic() > deadline:
                self.fail(f"{else_said} within {PATIENCE_S:g} s")
            time.sleep(0.1)

    def _start(self, program: str, *arguments: str) -> None:
        with (self.folder / f"{program}.out").open("ab") as output:
            self.daemons[program] = subprocess.Popen(
                [str(shutil.which(program, path=SEARCH)), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self.environment,
                start_new_session=True,
            )


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


@contextlib.contextmanager
def running_cluster() -> Iterator[Cluster]:
    """Bring a cluster up, and take it down again."""
    folder = Path(tempfile.mkdtemp(prefix="slurm."))  # short: sockets have short names
    folder.chmod(0o755)
    cluster = Cluster(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)
