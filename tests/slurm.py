"""Notebooks and a training as jobs of Slurm through the shipped profile: cancelled, requeued, out of time, too late.

Run by `make test-slurm`, on a Slurm that is here, or as root on a private one of a node with two CPUs and what Slurm
takes for a GPU. What is asked: that work goes on from the last epoch, and ends in the very numbers of a run that
nobody disturbed; and that a GPU is asked for in each way that the profile names.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
FIRST, SECOND, THIRD = "rdfia_cd_q26_schedules", "rdfia_cd_q29_dropout_batchnorm", "a1_q1_softmax_regression"
# to be caught in the middle
LONGER = {FIRST: ("epochs", 3), SECOND: ("ladder_epochs", 160), THIRD: ("search_epochs", 4000)}
# after its record a job stays so many seconds: time for the test to end its time before it is gone
STAYS = 5
RUN = '--threads {threads} --wait"'
BEGAN = time.monotonic()
DAEMONS = ("munged", "slurmctld", "slurmd")

CONF = """
ClusterName=private
SlurmctldHost={host}(localhost)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
KillWait=5
GresTypes=gpu
NodeName={host} NodeAddr=localhost CPUs=2 RealMemory=8500 Gres=gpu:a100:1 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def main() -> int:
    """Return the exit status."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores Ctrl-C
    (HERE / "_build").mkdir(exist_ok=True)
    # below the project: on a real cluster, that is where the nodes look too
    with tempfile.TemporaryDirectory(prefix="test-slurm-", dir=HERE / "_build") as folder, slurm():
        scenario(Path(folder))
    said("done")
    return 0


def said(text: str) -> None:
    print(f"test-slurm, {time.monotonic() - BEGAN:3.0f} s: {text}", flush=True)


def call(*command: str, **options) -> str:
    done = subprocess.run(command, capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{' '.join(command)} failed: {done.stderr.strip()}"
    return done.stdout


@contextmanager
def slurm() -> Iterator[None]:
    """Use the Slurm that is here, or a private one that ends with this test."""
    if shutil.which("sinfo") and subprocess.run(["sinfo"], capture_output=True).returncode == 0:
        said("on the Slurm that is here")
        yield
        return
    at = {d: shutil.which(d, path=os.environ["PATH"] + ":/usr/sbin:/sbin") for d in DAEMONS}
    if os.getuid() or not all(at.values()):
        sys.exit("make test-slurm needs a running Slurm (sinfo answers), or root and Debian's packages slurm-wlm and "
                 "munge for a private one: apt-get install slurm-wlm munge")  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="slurm-") as name:
        folder, ports = Path(name), []
        folder.chmod(0o755)
        for _ in range(2):
            with socket.socket() as s:
                s.bind(("localhost", 0))
                ports.append(s.getsockname()[1])
        for sub in ("state", "spool"):
            (folder / sub).mkdir()
        (folder / "key").write_bytes(os.urandom(1024))
        (folder / "key").chmod(0o400)
        host = socket.gethostname().split(".")[0]
        (folder / "slurm.conf").write_text(CONF.format(host=host, folder=folder, ports=ports))
        (folder / "gres.conf").write_text("Name=gpu Type=a100 File=/dev/null\n")
        os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
        # the plugin takes all that is called SLURM_ from srun, which would look in /etc
        (folder / "srun").write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {shutil.which("srun")} "$@"\n')
        (folder / "srun").chmod(0o755)
        path, os.environ["PATH"] = os.environ["PATH"], f"{folder}:{os.environ['PATH']}"
        files = {"key-file": "key", "socket": "munge.socket", "pid-file": "munge.pid", "log-file": "munge.log",
                 "seed-file": "munge.seed"}  # fmt: skip
        munge = [at["munged"], "--foreground", "--force", *(f"--{k}={folder}/{v}" for k, v in files.items())]
        running = []
        try:
            for command in (munge, [at["slurmctld"], "-D"], [at["slurmd"], "-D"]):
                with (folder / f"{Path(command[0]).name}.out").open("w") as out:
                    running.append(subprocess.Popen(command, stdout=out, stderr=out, cwd=folder))
                time.sleep(1)
            until(lambda: "idle" in call("sinfo", "-h", "-o", "%T"), 30, "an idle node")
            said("on a private Slurm, one node with two CPUs and a GPU that is none, no accounting")
            yield
        finally:
            for daemon in reversed(running):
                daemon.terminate()
                daemon.wait(20)
            del os.environ["SLURM_CONF"]
            os.environ["PATH"] = path


def until(condition: Callable, seconds: float, what: str):
    """Wait until `condition` gives something true, and return that."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(0.05)
    return found


def copy_project(target: Path) -> Path:
    """Copy the project as it is now, with longer trainings in its notebooks, whose jobs stay a little after them."""
    files = call("git", "-C", str(HERE), "ls-files", "-co", "--exclude-standard").splitlines()
    for file in files:
        if (HERE / file).is_file() and not file.startswith(("results/", "book/chapters/")):
            (target / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(HERE / file, target / file)
    for name, (parameter, epochs) in LONGER.items():
        path = target / "notebooks" / f"{name}.ipynb"
        text, n = re.subn(
            rf'"{parameter}: int = \d+', f'"{parameter}: int = {epochs}', path.read_text(encoding="utf-8")
        )
        assert n == 1, f"{name} declares no {parameter}"
        path.write_text(text, encoding="utf-8")
    rules = (target / "Snakefile").read_text(encoding="utf-8")
    assert rules.count(RUN) == 1, f"the Snakefile has no command that ends in {RUN}"
    (target / "Snakefile").write_text(rules.replace(RUN, f'{RUN[:-1]} && sleep {STAYS}"'), encoding="utf-8")
    return target


#: How a user asks for no GPU; for a certain one for every notebook, and as `--gres` for every training.
NO_GPU = ("notebook:gpu=0", "training:gpu=0")
GPU = ("notebook:gpu=1", "notebook:gpu_model=a100", "training:gpu=0", "training:gres=gpu:1")


def snakemake(
    project: Path, log: Path, config: tuple[str, ...], *more: str, gpu: tuple[str, ...] = NO_GPU
) -> subprocess.Popen:
    """Start the documented command, with what a user says about his cluster."""
    partition = call("sinfo", "-h", "-o", "%P").split()[0].rstrip("*")
    command = [sys.executable, "-m", "snakemake", "--profile", "profiles/slurm", "--config", "profile=smoke", *config,
               "--set-resources", *(f"{rule}:slurm_partition={partition}" for rule in ("notebook", "training")), *gpu,
               *more]  # fmt: skip
    with log.open("w") as out:
        return subprocess.Popen(command, cwd=project, stdout=out, stderr=out)


class Run:
    """One notebook's files in a project.

    Args:
        project: its folder.
        name: the notebook.
        keys: of its trainings, as an undisturbed run names them.
    """

    def __init__(self, project: Path, name: str, keys: Iterable[str] = ()):
        self.project, self.runs, self.name, self.keys = project, project / "runs" / "smoke", name, list(keys)
        self.record = self.runs / f"{name}.json"

    def jobs(self, states: str = "all", rule: str = "") -> dict[str, str]:
        """Return ids and states of its jobs, or of those of a training's, in the order of submission."""
        lines = call("squeue", "-h", f"--states={states}", "-S", "i", "-o", "%i|%T|%Z|%k").splitlines()
        own = f"{self.project}|{rule or f'rule_notebook_wildcards_smoke_{self.name}'}"
        return {job: now for job, now, where in (line.split("|", 2) for line in lines) if where == own}

    def asked_for(self, rule: str = "") -> set[str]:
        """Return what its jobs, or those of a training's, ask for besides CPUs and memory."""
        of = {job: call("scontrol", "show", "job", job) for job in self.jobs(rule=rule)}
        return {each for told in of.values() for each in re.findall(r"TresPer(?:Job|Node)=(\S+)", told)}

    def begun(self) -> int:
        """Return how many of its trainings have saved an epoch."""
        store = self.project / "runs" / "trainings"
        return sum(any((store / key).glob("state-*.safetensors")) for key in self.keys)

    def in_the_middle(self, trainings: int) -> str | None:
        """Return its running job where so many trainings have begun."""
        running = list(self.jobs("RUNNING"))
        return running[0] if running and self.begun() >= trainings else None

    def done_trainings(self) -> dict[str, int]:
        """Return when each training that is finished was."""
        records = {key: self.project / "runs" / "trainings" / key / "record.json" for key in self.keys}
        return {key: path.stat().st_mtime_ns for key, path in records.items() if path.exists()}

    def results(self) -> tuple:
        record = json.loads(self.record.read_text())
        return record["measurements"], record["numbers"]


def scenario(folder: Path) -> None:
    project, other = copy_project(folder / "project"), copy_project(folder / "other")
    stuck, log, stuck_log = None, folder / "log", folder / "stuck.log"
    names = (FIRST, SECOND)
    command = [sys.executable, "-m", "reproduce", "run"]
    alone = [subprocess.Popen([*command, name, "--threads", "1"], cwd=other) for name in LONGER]
    assert [p.wait() for p in alone] == [0, 0, 0]
    wanted = {name: Run(other, name).results() for name in LONGER}
    keys = {name: list(json.loads(Run(other, name).record.read_text())["trainings"]) for name in LONGER}
    said("undisturbed runs are there to compare with")
    both = (f"only={FIRST},{SECOND}",)
    try:
        stuck = snakemake(other, stuck_log, both, "--set-threads", "notebook=99", "--forceall")
        main_run = snakemake(project, log, both)
        with ThreadPoolExecutor() as pool:
            done = [pool.submit(cancelled_and_requeued, Run(project, FIRST, keys[FIRST])),
                    pool.submit(out_of_time_and_just_over_it, Run(project, SECOND, keys[SECOND]))]  # fmt: skip
        for each in done:
            each.result()
        until(lambda: main_run.poll() is not None, 300, "the end of snakemake")
        assert main_run.returncode == 0, "snakemake failed"
        for name in names:
            run = Run(project, name)
            assert run.results() == wanted[name], f"{name} came to other numbers"
        said("both ended in the very numbers of the undisturbed runs")
        states = {name: list(Run(project, name).jobs().values()) for name in names}
        assert states[FIRST].count("CANCELLED") == 1 and states[FIRST][-1] == "COMPLETED", states
        assert states[SECOND].count("TIMEOUT") == 2 and states[SECOND][-1] == "COMPLETED", states
        until(lambda: "can never start" in stuck_log.read_text(), 60, "a word about a job that is too large")
        said("a job that asks for more CPUs than a node has is said never to start")
        stuck.send_signal(signal.SIGINT)
        stuck.wait(180)
        assert not [j for name in names for j in Run(other, name).jobs("PENDING,RUNNING")], "jobs outlive Ctrl-C"
        said("Ctrl-C cancels the jobs")
        third, has_gpu = Run(project, THIRD, keys[THIRD]), "gpu:a100" in call("sinfo", "-h", "-o", "%G")
        main_run = snakemake(project, log, (f"only={THIRD}", "own_job=0"), gpu=GPU if has_gpu else NO_GPU)
        a_training_of_its_own(third)
        until(lambda: main_run.poll() is not None, 300, "the end of snakemake")
        assert main_run.returncode == 0, "snakemake failed"
        assert third.results() == wanted[THIRD], f"{THIRD} came to other numbers"
        said(f"{THIRD} ended in the very numbers of the undisturbed run")
        if has_gpu:
            a_gpu_for_each(third)
    except BaseException:
        for path in [log, stuck_log, *(project / ".snakemake" / "slurm_logs").rglob("*.log")]:
            print(f"---- {path.relative_to(folder)}", path.read_text() if path.exists() else "", sep="\n")
        raise
    finally:
        for process in (stuck, locals().get("main_run")):
            if process and process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.wait(180)


def cancelled_and_requeued(run: Run) -> None:
    job = until(lambda: run.in_the_middle(2), 120, f"{run.name} in its second training")
    call("scancel", job)
    before, begun = run.done_trainings(), run.begun()
    said(f"{run.name} cancelled in its training number {begun}")
    job = until(lambda: run.in_the_middle(begun + 1), 120, f"{run.name} in a training that it had not begun")
    assert run.done_trainings().items() >= before.items(), "finished trainings were done again"
    call("scontrol", "requeue", job)
    until(lambda: run.jobs()[job] == "PENDING", 60, "the requeued job in the queue")
    call("scontrol", "update", f"JobId={job}", "StartTime=now")  # by itself only after two minutes
    before = run.done_trainings()
    said(f"{run.name} went on where it was, and was requeued in its training number {run.begun()}")
    until(run.record.exists, 300, f"the record of {run.name}")
    assert run.done_trainings().items() >= before.items(), "finished trainings were done again"
    said(f"{run.name} went on where it was, and finished")


def a_training_of_its_own(run: Run) -> None:
    def in_the_middle() -> tuple[str, str] | None:
        """Return a training that has begun and is not finished, with its running job."""
        for key in run.keys:
            folder = run.project / "runs" / "trainings" / key
            if any(folder.glob("state-*.safetensors")) and not (folder / "record.json").exists():
                if job := list(run.jobs("RUNNING", f"rule_training_wildcards_{key}")):
                    return key, job[0]
        return None

    key, job = until(in_the_middle, 120, "a training that is a job of its own")
    call("scancel", job)
    said(f"training {key} cancelled in its middle")
    _, again = until(lambda: (found := in_the_middle()) and found[1] != job and found, 120, "the same in a new job")
    call("scontrol", "requeue", again)
    until(lambda: run.jobs(rule=f"rule_training_wildcards_{key}")[again] == "PENDING", 60, "the requeued job")
    call("scontrol", "update", f"JobId={again}", "StartTime=now")
    assert not run.jobs(), "its notebook waits for it"
    until((run.project / "runs" / "trainings" / key / "record.json").exists, 300, "its record")
    finished = run.done_trainings()[key]
    said(f"training {key} went on where it was, twice, and finished")
    until(run.record.exists, 300, f"the record of {run.name}")
    assert run.done_trainings()[key] == finished, "its notebook trained it again"


def a_gpu_for_each(run: Run) -> None:
    """Look at what the jobs of a notebook and of its trainings asked for."""
    assert run.asked_for() == {"gres:gpu:a100:1"}, run.asked_for()
    of_trainings = [run.asked_for(f"rule_training_wildcards_{key}") for key in run.keys]
    assert any(of_trainings) and all(asked <= {"gres:gpu:1"} for asked in of_trainings), of_trainings
    said("its notebook asked for a certain GPU, each of its trainings for any")


def out_of_time_and_just_over_it(run: Run) -> None:
    job = until(lambda: run.in_the_middle(2), 120, f"{run.name} in its second training")
    call("scancel", "--signal=STOP", job)  # or a fast core may be done before Slurm, which looks twice a minute
    call("scontrol", "update", f"JobId={job}", "EndTime=now")
    until(lambda: run.jobs()[job] == "TIMEOUT", 90, "the end of its time")
    before = run.done_trainings()
    assert not run.record.exists(), f"{run.name} was done before it could be stopped; give it longer trainings"
    said(f"{run.name} hit its time limit in its training number {run.begun()}")
    until(run.record.exists, 300, f"the record of {run.name}")
    (job,) = run.jobs("RUNNING")
    call("scontrol", "update", f"JobId={job}", "EndTime=now")
    assert run.done_trainings().items() >= before.items(), "finished trainings were done again"
    sealed = run.record.stat().st_mtime_ns
    until(lambda: run.jobs()[job] == "TIMEOUT", 90, "Slurm calling the finished job out of time")
    said(f"{run.name} went on where it was, and finished just over its time")
    until(lambda: len(run.jobs()) > 2, 90, f"another job of {run.name}")
    until(lambda: list(run.jobs().values())[-1] == "COMPLETED", 90, "its end")
    assert run.record.stat().st_mtime_ns == sealed, "the finished run was done again"
    said(f"{run.name}, which Slurm calls out of time, was not run again")


if __name__ == "__main__":
    sys.exit(main())
