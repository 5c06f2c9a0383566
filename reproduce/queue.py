"""The queue of all trainings: what is missing, how long it takes here, and working through it bit by bit."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import reduce
from operator import or_
from pathlib import Path

from cifar_utils.device import device_name, pick_device
from cifar_utils.errors import CifarUtilsError, ParameterError, RunError
from cifar_utils.paths import chapters
from cifar_utils.train import training as one
from cifar_utils.train.foresight import steps
from cifar_utils.train.recipe import from_canonical
from cifar_utils.train.records import is_current

from . import recipes
from .ledger import load_claims
from .speeds import Speeds
from .trainings import Job, find_all, know_own_parts, plan, store

#: Seconds from which on a training is a job of its own for Snakemake; shorter ones are left to the notebook.
OWN_JOB = 30.0

#: What is said of a chapter not all of whose trainings are known before others have ended.
_WAITS = "; others depend on what comes out"


@dataclass(frozen=True)
class Status:
    """Where a training of a chapter stands.

    Attributes:
        job: the training.
        state: `there`, `to compare` (made by other code, whose first steps are replayed), `begun` (also where a
            shorter one is there that it goes on from) or `missing`.
        seconds: what it will take here; 0 where it is there.
    """

    job: Job
    state: str
    seconds: float


def states(jobs: Iterable[Job], speeds: Speeds) -> list[Status]:
    """Return where each training stands, and the time that the missing ones need on this machine.

    Nothing is trained; speeds that no finished training tells are measured on a few steps.
    """
    kept, jobs, found = speeds.store, list(jobs), []
    by_stem = kept.by_stem()
    for job, training in zip(jobs, find_all(kept, jobs), strict=True):
        if training and is_current(training.record):
            found.append(Status(job, "there", 0.0))
            continue
        begun = any(kept.folder(job.key).glob("state-*.safetensors"))
        state = "to compare" if training else "begun" if begun else "missing"
        # code was changed since: mostly without a consequence, which its first steps will show
        share = min(1.0, one.FIRST_STEPS / steps(job.recipe)) if training else 1.0
        if not training and (shorter := kept.shorter(job.recipe, job.seed, by_stem)):
            state, share = "begun", 1 - shorter[-1].epochs / (job.recipe.epochs or 1)
        found.append(Status(job, state, share * speeds.seconds(job.recipe)))
    return found


def in_order(profile: str, names: Sequence[str]) -> list[Status]:
    """Return what the chapters still need, the shortest path to verdicts first.

    A chapter comes before another if it takes less time for each of its claims.
    """
    claims, speeds = load_claims().values(), Speeds(store(pick_device("auto")))
    waiting = []
    for name in names:
        missing = [s for s in states(plan(name, profile)[0], speeds) if s.state != "there"]
        answers = sum(claim.notebook == name for claim in claims) or 1
        waiting.append((sum(s.seconds for s in missing) / answers, name, missing))
    seen, ordered = set(), []
    for _, _, missing in sorted(waiting, key=lambda w: w[:2]):
        for status in missing:
            if status.job.key not in seen:
                seen.add(status.job.key)
                ordered.append(status)
    return ordered


def listing(profile: str, names: Sequence[str]) -> Iterator[str]:
    """Yield what each of some chapters has and needs here, and the time of all."""
    total, speeds = 0.0, Speeds(store(pick_device("auto")))
    for name in names:
        jobs, waits = plan(name, profile)
        each = states(jobs, speeds)
        total += sum(status.seconds for status in each)
        if jobs:
            yield f"{name}: {_told(each, speeds, 'asked again, fewer')}{_WAITS if waits else ''}"
    yield f"All together about {recipes.duration(total)} on this machine at profile {profile}."


def listing_of(profile: str, name: str) -> Iterator[str]:
    """Yield every training of a chapter: whether it is there, and how long it takes here.

    Whoever asks has these lines at once, by what speeds are known; where not all are, a last line follows once a few
    steps have been made.
    """
    jobs, waits = plan(name, profile)
    if not jobs:
        yield f"{name} trains nothing that is kept in the store."
        return
    kept = store(pick_device("auto"))
    speeds = Speeds(kept, at_once=True)
    each = states(jobs, speeds)
    yield f"{name}: {_told(each, speeds, 'a few steps of them tell, below')}{_WAITS if waits else ''}"
    for s in each:
        yield f"    {s.job.key}  {s.state:10} {s.seconds:6.0f} s  {s.job.arm}, seed {s.job.seed}"
    if _guesses(each, speeds):
        speeds = Speeds(kept)
        yield f"After a few steps: {_told(states(jobs, speeds), speeds, 'asked again, fewer')}"


def _told(each: Sequence[Status], speeds: Speeds, of_guesses: str) -> str:
    """Return how many of a chapter's trainings are there, and how long the others take; and something of guesses."""
    there, left = sum(s.state == "there" for s in each), sum(s.seconds for s in each)
    guesses = _guesses(each, speeds)
    sure = f" (a guess for {guesses} of them; {of_guesses})" if guesses else ""
    return f"{there} of {len(each)} there, the rest about {recipes.duration(left)}{sure}"


def _guesses(each: Iterable[Status], speeds: Speeds) -> int:
    return sum(s.state != "there" and speeds.is_guess(s.job.recipe) for s in each)


def before_running(name: str, profile: str, own: dict | None = None) -> str:
    """Return in a sentence what a run trains first and how long that takes here; empty where nothing is missing.

    Whatever is wrong with the chapter's recipes or parameters, its run says better.
    """
    with suppress(CifarUtilsError, FileNotFoundError):
        device = pick_device("auto")
        jobs, waits = plan(name, profile, own)
        left = [s for s in states(jobs, Speeds(store(device))) if s.state != "there"]
        if left:
            others = ", and others that depend on what comes out" if waits else ""
            time = f"{recipes.duration(sum(s.seconds for s in left))} on {device_name(device)}"
            return f"{len(left)} of {len(jobs)} trainings are missing here: about {time}{others}"
    return ""


class TimeUp(BaseException):
    """The time budget has ended."""


def own_jobs(profile: str, names: Sequence[str], least: float = OWN_JOB) -> dict[str, list[str]]:
    """Return, for each chapter, the keys of trainings that are not there and take at least so many seconds here.

    A chapter whose recipes cannot be read has none: its notebook will say what is wrong.
    """
    speeds, found = Speeds(store(pick_device("auto"))), {}
    for name in names:
        try:
            each = states(plan(name, profile)[0], speeds)
        except ParameterError as error:
            print(error, file=sys.stderr, flush=True)
            each = []
        found[name] = [s.job.key for s in each if s.state != "there" and s.seconds >= least]
    return found


def work(profile: str, names: Sequence[str], budget: float | None = None, workers: int = 1) -> int | None:
    """Train what the chapters need and is not there, until it is done or the time is up.

    Safe to kill at any moment, and to start twice: a training goes on from its last epoch, and what another process
    is training is left to it.

    Args:
        profile: whose parameters.
        names: chapters.
        budget: seconds.
        workers: processes that train side by side: small networks leave most of a GPU, or of many cores, idle.

    Returns:
        How many are left; None where the time was up before that was known.

    Raises:
        ParameterError: no such chapter, or its recipes cannot be read.
        RunError: at least one training failed; named, after all others.
    """
    failed: list[str] = []
    tried: set[str] = set()
    done: set[str] = set()
    left: list[Status] | None = None
    with _time_limit(budget):
        left = in_order(profile, names)
        while todo := {s.job.key: s for s in left if s.job.key not in tried}:
            together = one.together([(status.job.recipe, status.job.seed) for status in todo.values()])
            tried |= set(todo)
            for keys, errors in _side_by_side(
                [[todo[recipe.key(seed)] for recipe, seed in pairs] for pairs in together], workers
            ):
                done |= keys
                failed += errors
            left = in_order(profile, names)  # what came out may decide what else is to be trained
    if failed:
        raise RunError(f"{len(failed)} training{'s' * (len(failed) > 1)} failed: " + "; ".join(failed))
    return None if left is None else len({status.job.key for status in left} - done)


def _side_by_side(groups: Sequence[Sequence[Status]], workers: int) -> Iterator[tuple[set[str], list[str]]]:
    """Train groups, each in one of so many processes; yield what `_train` returns, as each is done."""
    if workers == 1 or len(groups) == 1:
        yield from map(_train, groups)
        return
    with multiprocessing.get_context("spawn").Pool(min(workers, len(groups)), know_own_parts) as pool:
        yield from pool.imap_unordered(_train, groups)


def work_on(profile: str, names: Sequence[str], key: str, budget: float | None = None) -> None:
    """Train one training of the chapters, unless it is there; where another process is at it, wait for that.

    Args:
        profile: whose parameters.
        names: chapters.
        key: of the training.
        budget: seconds, after which the next call goes on.

    Raises:
        ParameterError: no chapter has a training of that key.
        RunError: the disk is full, or may not be written to.
    """
    for name in names:
        for job in plan(name, profile)[0]:
            if job.key == key:
                print(f"{_label([job])}: begins, or is awaited", flush=True)
                kept, pair = store(pick_device("auto")), (job.recipe, job.seed)
                with _time_limit(budget):
                    kept.get_many([pair], **vars(job.needs))
                    print(f"{_label([job])}: is there", flush=True)
                return
    raise ParameterError(
        f"No chapter has a training {key} at profile {profile}; trainings NAME lists those of a chapter."
    )


def _label(jobs: Sequence[Job]) -> str:
    job, more = jobs[0], f" and {len(jobs) - 1} more" * (len(jobs) > 1)
    return f"{job.chapter}, {job.arm}, seed {job.seed} ({job.key}){more}"


def _train(group: Sequence[Status]) -> tuple[set[str], list[str]]:
    """Train what a loop can train at once, one training for most loops; return the keys of what is there, and errors.

    What another process is at is neither.
    """
    label, seconds = _label([status.job for status in group]), sum(status.seconds for status in group)
    print(f"{label}: about {recipes.duration(seconds)}", flush=True)
    pairs = [(status.job.recipe, status.job.seed) for status in group]
    needs = reduce(or_, (status.job.needs for status in group))
    try:
        kept = store(pick_device("auto"))
        found = kept.get_many(pairs, wait=False, **vars(needs))
    except CifarUtilsError as error:
        return set(), [f"{label}: {error}"]
    done = {recipe.key(seed): each for (recipe, seed), each in zip(pairs, found, strict=True) if each}
    told = [recipes.duration(sum(each.seconds for each in done.values()))] if done else []
    if elsewhere := len(pairs) - len(done):
        told.append(f"another process is at {'it' if len(pairs) == 1 else elsewhere}")
    print(f"{label}: {', '.join(told)}", flush=True)
    return set(done), []


@contextmanager
def _time_limit(seconds: float | None):
    """End what is inside after so many seconds, and say so."""

    def end(*_):
        raise TimeUp

    before = signal.signal(signal.SIGALRM, end) if seconds else None
    try:
        if seconds:
            signal.setitimer(signal.ITIMER_REAL, seconds)
        yield
    except TimeUp:
        print("The time is up; the next call goes on from the last epochs saved.", flush=True)
    finally:
        if seconds:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)


def verify_all(what: Sequence[str] = (), profile: str = "quick") -> tuple[int, int, int]:
    """Compare stored trainings with today's code; return how many are current, stale, and cannot be compared here.

    Args:
        what: chapters, whose trainings are meant, or keys of trainings; everything in the store by default.
        profile: whose parameters say what a chapter trains.

    Raises:
        ParameterError: a key that no training of the store has.
    """
    know_own_parts()
    kept = store(pick_device("auto"))
    records = {record["key"]: record for record in kept.records()}
    known = chapters()
    keys = [key for key in what if key not in known]
    if unknown := [key for key in keys if key not in records]:
        raise ParameterError(
            f"The store has no training {unknown[0]!r}; `trainings NAME` lists a chapter's, and "
            "`trainings verify NAME` compares all of them."
        )
    keys += [job.key for name in what if name in known for job in plan(name, profile)[0]]
    current = stale = elsewhere = 0
    for record in [records[key] for key in dict.fromkeys(keys) if key in records] if what else records.values():
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
