"""Around Snakemake: what is said before a long start, whose lock it is, and what a cluster's jobs wait for."""

from __future__ import annotations

import getpass
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path

from cifar_utils.errors import RunError
from cifar_utils.files import sources
from cifar_utils.paths import chapter_name, chapters, notebook_path, root

from . import runner
from .book import build as book
from .book import scoreboard
from .params import PROFILES, for_profile
from .record import write_json

#: Why Slurm keeps a job that it will never start, whatever else ends: it asks for more than there is.
NEVER = ("PartitionConfig", "BadConstraints", "PartitionNodeLimit", "PartitionTimeLimit")

_kept_open: list[int] = []  # a lock ends with its file descriptor, so also with a killed process


def chosen(only: str | list[str] | None) -> list[str]:
    """Return the notebooks that `only` names (a list, or a text with commas or spaces); all by default.

    Raises:
        ParameterError: one of them is not one of the project's notebooks.
    """
    given = re.split(r"[,\s]+", only.strip()) if isinstance(only, str) else only or []
    return [chapter_name(name) for name in given if name] or chapters()


def reproduce(profile: str, only: list[str], cores: int) -> int:
    """Run notebooks with Snakemake, then render the book of these runs; return the exit status.

    A notebook that fails does not keep the others, or the book of the others, from being made.

    Raises:
        ParameterError: unknown profile or notebook.
        RunError: no notebook was finished, or Jupyter Book fails.
        OSError: the project's folder cannot be written to.
    """
    names = chosen(only)
    for name in names:
        for_profile(name, profile)
    (root() / ".snakemake").mkdir(exist_ok=True)
    with tempfile.TemporaryFile(dir=root() / ".snakemake"):
        pass  # a project that cannot be written to is said so here in one sentence, by snakemake in forty lines
    if profile != "smoke":
        for line in missing_by_hand(names):
            print(line, file=sys.stderr, flush=True)
    config = [f"profile={profile}", *([f"only={','.join(names)}"] if only else [])]
    # a smoke run waits for its kernel now and then: one run more than cores keeps all of them busy
    at_once = cores + 1 if profile == "smoke" else cores
    status = _in_own_group(
        [sys.executable, "-m", "snakemake", "--quiet", "rules", "--cores", str(at_once), "--resources", "gpu=1",
         "--keep-going", "--rerun-incomplete", "--config", *config]
    )  # fmt: skip
    if status and not scoreboard.read_records(runner.run_dir(profile)):
        raise RunError("No notebook was finished, so there is no book to make; what went wrong stands above.")
    print("Rendering the book of these runs", flush=True)
    print(f"Open {book.build_profile(profile).relative_to(root())} in a browser.")
    return status


def _in_own_group(command: list[str]) -> int:
    """Run a command in the project; end it and all that it started when this process is told to end.

    Raises:
        KeyboardInterrupt: this process was interrupted or terminated, and the command has ended.
    """
    child, told = None, []

    def end(*_):
        told.append(True)
        if child is not None:  # one that is just being started is ended below
            raise KeyboardInterrupt

    numbers = [n for n in (signal.SIGTERM, signal.SIGINT) if signal.getsignal(n) != signal.SIG_IGN]
    before = {number: signal.signal(number, end) for number in numbers}
    try:
        child = subprocess.Popen(command, cwd=root(), start_new_session=True)
        if told:
            raise KeyboardInterrupt
        return child.wait()
    finally:
        while child is not None and child.poll() is None:
            try:
                os.killpg(child.pid, signal.SIGINT)
                child.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
        for number, handler in before.items():
            signal.signal(number, handler)


def data_status(names: list[str]) -> list[str]:
    """Return a line for every data set that notebooks need: whether it is here, and who needs it."""
    return [f"{state.sentence} Needed by {', '.join(who)}." for state, who in _needed(chosen(names))]


def fetch_data(names: list[str]) -> list[str]:
    """Fetch what is missing and has an address, for jobs without network; return what `data_status` does."""
    for state, _ in _needed(chosen(names)):
        if state.state == "to fetch":
            locate = sources.locate_one_of if state.name in sources.SERVES else sources.locate
            locate(state.name)
    return data_status(names)


def missing_by_hand(names: list[str]) -> list[str]:
    """Return a line for every data set that must be got by hand before these notebooks can run on real data."""
    return [
        f"{state.sentence} Until then these fail, and the rest is made: {', '.join(who)}."
        for state, who in _by_hand(names)
    ]


def refuse_without_data(name: str) -> None:
    """Do nothing if a notebook's real data is here or can be fetched.

    Raises:
        RunError: a data set must be got by hand.
    """
    for state, _ in _by_hand([name]):
        raise RunError(f"{name} cannot run on real data: {state.sentence}")


def _by_hand(names: list[str]) -> list[tuple[sources.Status, list[str]]]:
    return [(state, who) for state, who in _needed(names) if state.state == "by hand"]


def _needed(names: list[str]) -> list[tuple[sources.Status, list[str]]]:
    users: dict[str, list[str]] = {}
    for name in names:
        for need in sources.needed(notebook_path(name)):
            users.setdefault(need, []).append(name)
    return [(state, users[state.name]) for state in sources.status(users)]


def unlock_if_alone() -> None:
    """Remove Snakemake's locks of this folder if no Snakemake that reads this Snakefile is alive here.

    Snakemake's own lock outlives a `kill -9`; the one taken here, shared among all that are alive, does not.
    """
    try:
        import fcntl

        Path(".snakemake").mkdir(exist_ok=True)
        handle = os.open(".snakemake/alive", os.O_CREAT | os.O_RDWR)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(".snakemake/locks", ignore_errors=True)
        except BlockingIOError:
            print("Another make reproduce or snakemake is at work in this folder.", file=sys.stderr, flush=True)
        fcntl.flock(handle, fcntl.LOCK_SH)
        _kept_open.append(handle)
    except (ImportError, OSError):
        return  # no such locks on this system or disk: Snakemake's own remain


def withdraw_stale(names: list[str], profile: str) -> list[str]:
    """Remove the stamps of runs that are not there or not current, so that Snakemake makes them; return whose.

    A run that is current takes over what was changed of its notebook's text.
    """
    stale = [name for name in names if not runner.taken_over(name, profile)]
    for name in stale:
        (runner.run_dir(profile) / f"{name}.done").unlink(missing_ok=True)
    return stale


#: Which trainings are jobs of their own, by profile and chapter, as Snakemake's main process found it: its jobs,
#: each a process that reads the Snakefile, go by this file.
_PLAN = Path(".snakemake", "trainings.json")


def plan_trainings(names: Iterable[str], stale: list[str], profile: str, least: float | None = None) -> None:
    """Find the trainings of some chapters that are not there and take long, and withdraw their stamps.

    Args:
        names: chapters that are wanted.
        stale: chapters that are not current; the others need no training any more.
        profile: whose parameters. At `smoke` no training takes long, so they are counted only if `least` is given.
        least: seconds from which on a training is a job of its own; `queue.OWN_JOB` by default.
    """
    found: dict[str, list[str]] = {name: [] for name in names}
    to_run = [name for name in found if name in stale]
    if to_run and (profile != "smoke" or least is not None):
        from . import queue  # here: it needs PyTorch

        found |= queue.own_jobs(profile, to_run, queue.OWN_JOB if least is None else least)
    for key in {key for keys in found.values() for key in keys}:
        (root() / "runs" / "trainings" / f"{key}.done").unlink(missing_ok=True)
    known = _planned()
    known[profile] = known.get(profile, {}) | found
    (root() / _PLAN).parent.mkdir(exist_ok=True)
    write_json(root() / _PLAN, known)


def trainings_of(name: str, profile: str) -> list[str]:
    """Return the keys of a chapter's trainings that are jobs of their own."""
    return _planned().get(profile, {}).get(name, [])


def chapter_with(key: str, profile: str) -> str:
    """Return a chapter that needs a training which is a job of its own."""
    return next(name for name, keys in _planned()[profile].items() if key in keys)


def _planned() -> dict[str, dict[str, list[str]]]:
    path = root() / _PLAN
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def watch_queue(every: float = 30) -> None:
    """Say, while Snakemake waits for Slurm, why jobs are pending; each reason once."""
    threading.Thread(target=_watch, args=(every,), daemon=True).start()


def _watch(every: float) -> None:
    told: set[str] = set()
    while True:
        time.sleep(every)
        command = ["squeue", "-h", "-t", "PENDING", "-u", getpass.getuser(), "-o", "%i|%k|%C|%m|%l|%r"]
        done = subprocess.run(command, capture_output=True, text=True)
        for line in pending(done.stdout):
            if line not in told:
                told.add(line)
                print(line, file=sys.stderr, flush=True)


def pending(queue: str) -> list[str]:
    """Return a sentence for every job of a notebook or of a training that waits in a queue.

    Args:
        queue: what `squeue` says, `id|comment|cpus|memory|time limit|reason` a line.
    """
    found = []
    for line in queue.splitlines():
        job, comment, cpus, memory, limit, reason = line.split("|", 5)
        match = re.fullmatch(
            rf"rule_(?:notebook_wildcards_(?:{'|'.join(PROFILES)})|training_wildcards)_(.*)", comment
        )
        if not match:
            continue
        rule = comment.split("_")[1]
        asks = f"{cpus} CPUs, {memory} of memory and {limit}"
        if reason in NEVER:
            found.append(
                f"{match[1]}: job {job} can never start ({reason}): no node of its partition has {asks}. Stop with "
                f"Ctrl-C and ask for less, such as --set-threads {rule}=2 --set-resources {rule}:mem_mb=4000."
            )
        else:
            found.append(f"{match[1]}: job {job} waits in the queue ({reason}) for {asks}.")
    return found
