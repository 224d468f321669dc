"""A Slurm of one machine's own, for the comparison: controller and node daemons on loopback, stopped at the end."""

from __future__ import annotations

import os
import shutil
import socket
import statistics
import subprocess
import time
from pathlib import Path

PACKAGES = ("slurm-wlm", "munge")
START_LIMIT_S = 30.0


class Slurm:
    """Started on entering, ended on leaving. Raises ``RuntimeError`` when it does not come up."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        self._environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}

    def __enter__(self) -> Slurm:
        install()
        (self._folder / "spool").mkdir(parents=True)
        (self._folder / "slurm.conf").write_text(self._configuration())
        self._munge()
        self._start("slurmctld", "-D")
        self._start("slurmd", "-D", "-N", "n1")
        deadline = time.monotonic() + START_LIMIT_S
        while "idle" not in self._run("sinfo", "-h", "-o", "%T").stdout:
            if time.monotonic() > deadline:
                raise RuntimeError("Slurm did not come up: " + (self._folder / "slurmctld.log").read_text()[-2000:])
            time.sleep(0.2)
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._processes):
            process.terminate()
        for process in self._processes:
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()

    def _configuration(self) -> str:
        host = socket.gethostname().split(".")[0]
        return f"""
ClusterName=bench
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
SlurmctldPort=16817
StateSaveLocation={self._folder}/spool
SlurmdSpoolDir={self._folder}/spool/%n
SlurmctldPidFile={self._folder}/slurmctld.pid
SlurmdPidFile={self._folder}/slurmd-%n.pid
SlurmctldLogFile={self._folder}/slurmctld.log
SlurmdLogFile={self._folder}/slurmd-%n.log
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
SchedulerParameters=batch_sched_delay=0,default_queue_depth=1000,partition_job_depth=1000
MaxArraySize=20001
MaxJobCount=50000
ReturnToService=2
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port=17001 CPUs=64 Sockets=1 CoresPerSocket=64 RealMemory=8000
PartitionName=main Nodes=n1 Default=YES MaxTime=INFINITE State=UP
"""

    def _munge(self) -> None:
        """Start munged unless one answers already."""
        if subprocess.run(["munge", "-n"], capture_output=True, check=False).returncode == 0:
            return
        for path in ("/run/munge", "/var/log/munge", "/var/lib/munge", "/etc/munge"):
            shutil.chown(path, "munge", "munge") if Path(path).exists() else Path(path).mkdir(mode=0o755)
        self._processes.append(subprocess.Popen(["munged", "--foreground", "--force"], stderr=subprocess.DEVNULL))
        deadline = time.monotonic() + START_LIMIT_S
        while subprocess.run(["munge", "-n"], capture_output=True, check=False).returncode:
            if time.monotonic() > deadline:
                raise RuntimeError("munged did not come up")
            time.sleep(0.1)

    def _start(self, *command: str) -> None:
        log = open(self._folder / f"{command[0]}.out", "wb")  # noqa: SIM115 - the process keeps it
        self._processes.append(subprocess.Popen(command, env=self._environment, stdout=log, stderr=subprocess.STDOUT))

    def _run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False)

    def srun_ms(self, count: int) -> float:
        """Median of the whole command ``srun true``, one after the other."""
        times = []
        for _ in range(count):
            began = time.perf_counter()
            done = self._run("srun", "true")
            if done.returncode:
                raise RuntimeError(f"srun failed: {done.stderr}")
            times.append((time.perf_counter() - began) * 1e3)
        return statistics.median(times)

    def tasks_per_s(self, count: int) -> float:
        """An array of ``true``, from its submission until the queue is empty."""
        began = time.perf_counter()
        done = self._run("sbatch", "--parsable", f"--array=0-{count - 1}", "-o", "/dev/null", "--wrap", "true")
        if done.returncode:
            raise RuntimeError(f"sbatch failed: {done.stderr}")
        while self._run("squeue", "-h", "-t", "PD,R,CG").stdout.strip():
            time.sleep(0.1)
        return count / (time.perf_counter() - began)


def install() -> None:
    """Debian's packages, unless they are there. Raises ``RuntimeError``."""
    if shutil.which("slurmctld") and shutil.which("munged"):
        return
    for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", *PACKAGES]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"`{' '.join(command)}` failed: {done.stderr[-500:]}")
