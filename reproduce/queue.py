"""The queue of all trainings: what is missing, how long it takes here, and working through it bit by bit."""

from __future__ import annotations

import json
import os
import signal
import sys
import tarfile
import time
from collections.abc import Iterable, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from cifar_utils import environment
from cifar_utils.device import autocast_dtype, pick_device
from cifar_utils.errors import CifarUtilsError, ParameterError, RunError
from cifar_utils.files.sources import locate
from cifar_utils.train import training as one
from cifar_utils.train.recipe import Recipe, from_canonical
from cifar_utils.train.records import is_current, read_record
from cifar_utils.train.store import Store

from . import recipes
from .ledger import load_claims
from .trainings import Job, plan, store

#: Seconds that the measurement of speeds may take in all; what is left is estimated from what was measured.
MEASURING = 2.0


@dataclass(frozen=True)
class Status:
    """Where a training of a chapter stands.

    Attributes:
        job: the training.
        state: `there`, `to compare` (made by other code, whose first steps are replayed), `begun` or `missing`.
        seconds: what it will take here; 0 where it is there.
    """

    job: Job
    state: str
    seconds: float


def states(jobs: Iterable[Job], kept: Store | None = None) -> list[Status]:
    """Return where each training stands, and the time that the missing ones need on this machine.

    Nothing is trained; speeds that no finished training tells are measured on a few steps.
    """
    jobs, kept = list(jobs), kept or store(pick_device("auto"))
    speeds, found = Speeds(kept), []
    for job in jobs:
        training = kept.find(job.recipe, job.seed, job.weights)
        if training and is_current(training.record):
            found.append(Status(job, "there", 0.0))
            continue
        begun = any(kept.folder(job.key).glob("state-*.safetensors"))
        state = "to compare" if training else "begun" if begun else "missing"
        # code was changed since: mostly without a consequence, which its first steps will show
        share = min(1.0, one.FIRST_STEPS / steps(job.recipe)) if training else 1.0
        found.append(Status(job, state, share * speeds.seconds(job.recipe)))
    return found


class Speeds:
    """How long a step of a recipe takes on this machine: from finished trainings, else from a few steps.

    Args:
        kept: the store whose trainings tell.
    """

    def __init__(self, kept: Store):
        self.store, self.deadline = kept, time.perf_counter() + MEASURING
        self.machine = environment.machine(kept.device)
        self.path = kept.root / "speeds.json"
        self.known: dict[str, float] = {}
        with suppress(OSError, ValueError):
            self.known = json.loads(self.path.read_text(encoding="utf-8")).get(self.machine, {})
        for record in kept.records():
            env, spent = record["environment"], record["history"]
            if env.get("machine") == self.machine and spent["iterations"] >= 20:
                self.known[self._shape(from_canonical(record["recipe"]))] = spent["seconds"] / spent["iterations"]

    def seconds(self, recipe: Recipe) -> float:
        """Return the estimated seconds of one training."""
        shape = self._shape(recipe)
        if shape not in self.known:
            self.known[shape] = (
                self._measured(recipe) if time.perf_counter() < self.deadline else self._guessed(recipe)
            )
        return self.known[shape] * steps(recipe)

    def _measured(self, recipe: Recipe) -> float:
        short = recipe.but(start=None) if isinstance(recipe.start, Recipe) else recipe
        try:
            if not recipe.sample:
                locate(recipe.data, None, download=False)  # a list waits for no network
            seconds = lambda n: one.train(short, 0, self.store.device, steps=n).history.seconds  # noqa: E731
            # what happens once, at the first step, does not count; nor does what else the machine is doing
            per_step = max(min(seconds(5), seconds(5)) - min(seconds(1), seconds(1)), 1e-6) / 4
        except CifarUtilsError:
            return self._guessed(recipe)
        self._keep(self._shape(recipe), per_step)
        return per_step

    def _guessed(self, recipe: Recipe) -> float:
        """Return the mean of the known speeds, by image."""
        each = [v / json.loads(shape).get("batch", 128) for shape, v in self.known.items()]
        return recipe.batch * (sum(each) / len(each) if each else 1e-3)

    def _keep(self, shape: str, seconds: float) -> None:
        with suppress(OSError, ValueError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            old = json.loads(self.path.read_text(encoding="utf-8")) if self.path.exists() else {}
            old.setdefault(self.machine, {})[shape] = seconds
            draft = self.path.with_suffix(f".{os.getpid()}.part")
            draft.write_text(json.dumps(old), encoding="utf-8")
            os.replace(draft, self.path)

    def _shape(self, recipe: Recipe) -> str:
        """Return what decides the time of a step, as text."""
        told = recipe.canonical()
        keep = ("data", "model", "batch", "augment", "prepare", "draw", "loss", "precision", "loop", "sample")
        amp = autocast_dtype(recipe.precision, self.store.device)
        return json.dumps({k: told[k] for k in keep if k in told} | {"precision": str(amp)}, sort_keys=True)


def steps(recipe: Recipe) -> int:
    """Return how many steps a recipe takes, as far as can be said without its data."""
    if recipe.iterations:
        return recipe.iterations
    count = recipe.draw.options.get("images") or recipe.images or one.size_of(recipe)
    return (recipe.epochs or 0) * -(-count // recipe.batch)


def in_order(profile: str, names: Sequence[str]) -> list[Status]:
    """Return what the chapters still need, the shortest path to verdicts first.

    A chapter comes before another if it takes less time for each of its claims.
    """
    claims = load_claims().values()
    kept = store(pick_device("auto"))
    waiting = []
    for name in names:
        missing = [s for s in states(plan(name, profile)[0], kept) if s.state != "there"]
        answers = sum(claim.notebook == name for claim in claims) or 1
        waiting.append((sum(s.seconds for s in missing) / answers, name, missing))
    seen, ordered = set(), []
    for _, _, missing in sorted(waiting, key=lambda w: w[:2]):
        for status in missing:
            if status.job.key not in seen:
                seen.add(status.job.key)
                ordered.append(status)
    return ordered


def listing(profile: str, names: Sequence[str]) -> list[str]:
    """Return a line for every training of some chapters: whether it is there, and how long it takes here."""
    kept, lines = store(pick_device("auto")), []
    total, several = 0.0, len(names) > 1
    for name in names:
        jobs, waits = plan(name, profile)
        each = states(jobs, kept)
        there, left = sum(s.state == "there" for s in each), sum(s.seconds for s in each)
        total += left
        if jobs:
            more = "; others depend on what comes out" if waits else ""
            lines.append(f"{name}: {there} of {len(each)} there, the rest about {recipes.duration(left)}{more}")
        elif not several:
            lines.append(f"{name} trains nothing that is kept in the store.")
        if not several:
            lines += [
                f"    {s.job.key}  {s.state:10} {s.seconds:6.0f} s  {s.job.arm}, seed {s.job.seed}" for s in each
            ]
    if several:
        lines.append(f"All together about {recipes.duration(total)} on this machine at profile {profile}.")
    return lines


class TimeUp(BaseException):
    """The time budget has ended."""


def work(profile: str, names: Sequence[str], budget: float | None = None, key: str | None = None) -> int:
    """Train what the chapters need and is not there, until it is done or the time is up; return how many are left.

    Safe to kill at any moment, and to start twice: a training goes on from its last epoch, and what another process
    is training is left to it.

    Args:
        profile: whose parameters.
        names: chapters.
        budget: seconds.
        key: only this training.

    Raises:
        ParameterError: no chapter has a training of that key.
        RunError: at least one training failed; named, after all others.
    """
    kept, failed, tried = store(pick_device("auto")), [], set()
    with _time_limit(budget):
        try:
            while True:
                todo = [s for s in in_order(profile, names) if s.job.key not in tried]
                if key is not None:
                    todo = [s for s in todo if s.job.key == key]
                if not todo:
                    break
                for status in todo:
                    tried.add(status.job.key)
                    _one(kept, status, failed)
        except TimeUp:
            print("The time is up; the next call goes on from the last epochs saved.", flush=True)
    if failed:
        raise RunError(f"{len(failed)} trainings failed: " + "; ".join(failed))
    return len(in_order(profile, names)) if key is None else 0


def _one(kept: Store, status: Status, failed: list[str]) -> None:
    job = status.job
    label = f"{job.chapter}, {job.arm}, seed {job.seed} ({job.key})"
    print(f"{label}: about {status.seconds:.0f} s", flush=True)
    try:
        done = kept.get(job.recipe, job.seed, weights=job.weights, wait=False)
    except CifarUtilsError as error:
        failed.append(f"{label}: {error}")
        return
    print(f"{label}: " + (f"{done.seconds:.0f} s" if done else "another process is at it"), flush=True)


@contextmanager
def _time_limit(seconds: float | None):
    def end(*_):
        raise TimeUp

    before = signal.signal(signal.SIGALRM, end) if seconds else None
    if seconds:
        signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        if seconds:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)


def export(path: Path, keys: Sequence[str] = ()) -> int:
    """Write finished trainings with their weights into one archive; return how many.

    Raises:
        RunError: the archive cannot be written.
    """
    kept = store()
    folders = (
        [kept.folder(key) for key in keys] if keys else sorted(p.parent for p in kept.root.glob("*/record.json"))
    )
    draft, count = path.with_name(f"{path.name}.part"), 0
    try:
        with tarfile.open(draft, "w") as archive:
            for folder in folders:
                record = read_record(folder / "record.json")
                if record is None:
                    continue
                for file in filter(None, (record["state"], "scores.safetensors", "record.json")):
                    if (folder / file).exists():
                        archive.add(folder / file, f"{folder.name}/{file}")
                count += 1
        os.replace(draft, path)
    except OSError as error:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise RunError(f"{path} could not be written ({error.strerror}); make room there, or name another.") from None
    return count


def take_in(path: Path) -> tuple[int, int]:
    """Read an archive of `export` into the store; return how many trainings were new, and how many were there.

    Raises:
        ParameterError: it is no such archive.
        RunError: the disk is full.
    """
    kept, new, known = store(), 0, 0
    try:
        with tarfile.open(path) as archive:
            members = [m for m in archive if m.isfile() and len(Path(m.name).parts) == 2]
            records = [m for m in members if Path(m.name).name == "record.json"]
            for member in records:
                key = Path(member.name).parent.name
                folder = kept.folder(key)
                if read_record(folder / "record.json"):
                    known += 1
                    continue
                own = [m for m in members if Path(m.name).parent.name == key]
                for each in sorted(own, key=lambda m: m is member):  # the record last: it says that all is there
                    folder.mkdir(parents=True, exist_ok=True)
                    draft = folder / f"{Path(each.name).name}.part"
                    draft.write_bytes(archive.extractfile(each).read())  # type: ignore[union-attr]
                    os.replace(draft, folder / Path(each.name).name)
                if read_record(folder / "record.json") is None:
                    print(f"{key} in {path.name} is not whole, and does not count.", file=sys.stderr)
                else:
                    new += 1
    except (tarfile.TarError, FileNotFoundError) as error:
        raise ParameterError(
            f"{path} is no archive of trainings ({error}); make one with trainings export."
        ) from None
    except OSError as error:
        raise RunError(
            f"{path} could not be unpacked into {kept.root} ({error.strerror}); make room there."
        ) from None
    return new, known


def verify_all(keys: Sequence[str] = ()) -> tuple[int, int, int]:
    """Compare stored trainings with today's code; return how many are current, stale, and cannot be compared here."""
    kept = store(pick_device("auto"))
    current = stale = elsewhere = 0
    for record in list(kept.records()):
        if keys and record["key"] not in keys:
            continue
        recipe = from_canonical(record["recipe"])
        if is_current(record):
            current += 1
        elif record["environment"]["device_type"] != kept.device.type:
            elsewhere += 1
        else:
            found = kept.find(recipe, record["seed"])
            same = found is not None and kept.verify(found)
            current, stale = current + same, stale + (not same)
    return current, stale, elsewhere


def lower_priority() -> None:
    """Give way to everything else on this machine."""
    with suppress(OSError):
        os.nice(19)
    with suppress(OSError):  # Linux shares a processor among sessions first, and asks each by its own number
        Path("/proc/self/autogroup").write_text("19", encoding="utf-8")
