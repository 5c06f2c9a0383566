"""The store of trainings: each is made once, kept with everything that it was made from, and found again.

runs/trainings/KEY/record.json          what happened; written last, so that it says the training is finished
runs/trainings/KEY/state-CODE.safetensors   weights, and what is needed to go on
runs/trainings/KEY/weights.safetensors   weights of a network in NumPy
runs/trainings/KEY/scores.safetensors   scores of held-out sets, float16
runs/trainings/index.json               what the records say at a glance; can be deleted
runs/trainings/index-CODE.json          the same of a folder of committed records
results/trainings/KEY.json              the record alone, committed
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from .. import environment, operations
from ..device import autocast_dtype
from ..errors import RunError
from ..files import tensor_files
from . import training as one
from .foresight import counted
from .index import Head, Index
from .measures import lacking, taken
from .recipe import Recipe, from_canonical
from .records import WEIGHTS, Training, is_current, read_record, rounded, write_record

#: How far apart first losses may be and still count as the same, which rounding does, and other arithmetic does not.
SAME_LOSS = {"float32": 1e-3, "bfloat16": 3e-2}


@dataclass(frozen=True)
class Needs:
    """What of a training is needed besides its record.

    Attributes:
        weights: its network.
        scores: its scores of held-out sets.
        measures: what is measured on its network, which its record has or the network tells; names.
    """

    weights: bool = False
    scores: bool = False
    measures: Sequence[str] = ()

    def __or__(self, other: Needs) -> Needs:
        """Return what either needs."""
        measures = tuple(dict.fromkeys((*self.measures, *other.measures)))
        return Needs(self.weights or other.weights, self.scores or other.scores, measures)

    def are_met(self, found: Training) -> bool:
        """Whether a training has it all here."""
        weights = self.weights or bool(lacking(found.record, self.measures))
        return bool((not weights or found.state) and (not self.scores or found.scores_file))


class Store:
    """Trainings in a folder, and the committed records of others.

    Args:
        folder: where trainings are made, such as `runs/trainings`.
        published: where committed records lie, such as `results/trainings`; None for none.
        device: where networks are trained, and put when they are asked for.
    """

    def __init__(self, folder: Path, published: Path | None = None, device: torch.device | None = None):
        self.root, self.published = Path(folder), published
        self.device = device or torch.device("cpu")
        own = Index(self.root / "index.json", self.root)
        self._indices = [(own, lambda: [f"{key}/record.json" for key in _names(self.root)])]
        if published:
            code = hashlib.sha256(str(published.resolve()).encode()).hexdigest()[:8]
            committed = Index(self.root / f"index-{code}.json", published)
            self._indices.append((committed, lambda: [n for n in _names(published) if n.endswith(".json")]))

    def folder(self, key: str) -> Path:
        """Return the folder of a training."""
        return self.root / key

    def records(self) -> Iterator[dict]:
        """Yield the record of every finished training that is whole, the committed ones of others last."""
        yield from filter(None, (read_record(Path(head.path)) for head in self.heads()))

    def heads(self) -> list[Head]:
        """Return the head of every finished training, the committed ones of others last."""
        each: dict[str, Head] = {}
        for index, names in self._indices:
            for head in index.heads(names()):
                each.setdefault(head.key, head)
        return list(each.values())

    def by_stem(self) -> dict[tuple[str, int], list[Head]]:
        """Return the heads that there are now, by what trainings of any length share: stem and seed."""
        found: dict[tuple[str, int], list[Head]] = {}
        for head in self.heads():
            found.setdefault((head.stem, head.seed), []).append(head)
        return found

    def find(self, recipe: Recipe, seed: int, **needs) -> Training | None:
        """Return a finished training of a recipe, if one is here: itself, or a longer one that contains it.

        Whether today's code would give the same is for `is_current` to say.

        Args:
            recipe, seed: what is wanted.
            needs: those of `Needs`, which only the training itself meets.
        """
        return self.find_many([(recipe, seed, Needs(**needs))])[0]

    def find_many(self, wanted: Iterable[tuple[Recipe, int, Needs]]) -> list[Training | None]:
        """Return what `find` does for each of several, (recipe, seed, needs); the store is read once."""
        found, by_stem = [], None
        for recipe, seed, needs in wanted:
            training = self._itself(recipe, seed, needs)
            if training is None and not (needs.weights or needs.scores or needs.measures):
                by_stem = self.by_stem() if by_stem is None else by_stem
                training = self._longer(recipe, seed, by_stem.get((recipe.stem, seed), ()))
            found.append(training)
        return found

    def _itself(self, recipe: Recipe, seed: int, needs: Needs) -> Training | None:
        key = recipe.key(seed)
        places = [(self.folder(key) / "record.json", self.folder(key))]
        places += [(self.published / f"{key}.json", None)] if self.published else []
        for path, folder in places:
            record = read_record(path)
            if record and _has_its_steps(recipe, record):
                found = Training(recipe, seed, record, folder, self.device)
                if needs.are_met(found):
                    return found
        return None

    def _longer(self, recipe: Recipe, seed: int, alike: Iterable[Head]) -> Training | None:
        """Return the first of some trainings of a recipe's stem and seed that contains its own."""
        if not recipe.epochs or not set(recipe.final) <= set(recipe.evaluate):
            return None  # what it measures at its end stands in no longer one
        for head in alike:
            record = read_record(Path(head.path)) if head.epochs > recipe.epochs else None
            if record and _has_its_steps(recipe, record):
                longer = from_canonical(record["recipe"])
                return Training(longer, seed, record, None, self.device).until(recipe)
        return None

    def get(
        self, recipe: Recipe, seed: int, *, progress: str | None = None, wait: bool = True, **needs
    ) -> Training | None:
        """Return a training: from the store if it is there and current, and trained now otherwise.

        Args:
            recipe, seed: what is wanted.
            progress: label of a progress bar.
            wait: for another process that is training it; None is returned otherwise.
            needs: those of `Needs`; where only its record is here, and that is not enough, it is trained again.

        Raises:
            RunError: the disk is full, or may not be written to.
        """
        label = None if progress is None else lambda _: progress
        return self.get_many([(recipe, seed)], progress=label, wait=wait, **needs)[0]

    def get_many(
        self,
        pairs: Sequence[tuple[Recipe, int]],
        *,
        progress: Callable[[Sequence[tuple[Recipe, int]]], str] | None = None,
        wait: bool = True,
        **needs,
    ) -> list[Training | None]:
        """Return several trainings (recipe, seed) in order, as `get` does; what a loop can train at once, it does.

        How many were trained at once changes nothing but the time: each is stored under its own key. Of `needs`,
        scores need less room than weights; those that start from others need the weights of these; measures are
        taken where a record lacks them, and kept there. `progress` makes the label of a progress bar from those that
        are trained at once.
        """
        asked = Needs(**needs)
        lacking({}, asked.measures)  # one that there is not is said before anything is trained
        starts = {r.start.key(seed) for r, seed in pairs if isinstance(r.start, Recipe)}
        each_needs = {r.key(s): replace(asked, weights=asked.weights or r.key(s) in starts) for r, s in pairs}
        done: dict[str, Training | None] = {}
        missing: dict[str, tuple[Recipe, int]] = {}
        each = {recipe.key(seed): (recipe, seed) for recipe, seed in pairs}
        there = self.find_many((*pair, each_needs[key]) for key, pair in each.items())
        for (key, (recipe, seed)), found in zip(each.items(), there, strict=True):
            if found and (is_current(found.record) or self.verify(found)):
                operations.add(found.record["operations"])
                done[key] = found
            else:
                missing[key] = (recipe, seed)
        for group in one.together(list(missing.values())):
            done |= self._group(group, each_needs, progress, wait)
        done = {key: found and self._measured(found, asked.measures) for key, found in done.items()}
        return [done[recipe.key(seed)] for recipe, seed in pairs]

    def _measured(self, found: Training, measures: Sequence[str]) -> Training:
        """Return a training whose record has these measures: taken now, and noted, where it has not."""
        if not (names := lacking(found.record, measures)):
            return found
        now = {name: rounded(each) for name, each in taken(found, names).items()}
        path = self.folder(found.record["key"]) / "record.json"
        with self.alone(found.record["key"]):
            record = read_record(path) or found.record  # somebody else may have noted something meanwhile
            record = {**record, "measured": {**record.get("measured", {}), **now}}
            write_record(path, record)
        return replace(found, record=record)

    def _group(
        self, group: Sequence[tuple[Recipe, int]], needs: Mapping[str, Needs], progress: Callable | None, wait: bool
    ) -> dict[str, Training | None]:
        """Return trainings of one group by key, those trained now that nobody else is at."""
        done: dict[str, Training | None] = {}
        with ExitStack() as locks:
            for key in sorted(recipe.key(seed) for recipe, seed in group):
                try:  # in one order, so that two processes never wait for each other
                    locks.enter_context(self.alone(key, wait))
                except Timeout:
                    done[key] = None
            ours = {recipe.key(seed): (recipe, seed) for recipe, seed in group if recipe.key(seed) not in done}
            there = self.find_many((*pair, needs[key]) for key, pair in ours.items())
            # somebody else may have trained some meanwhile
            done |= {key: found for key, found in zip(ours, there, strict=True) if found and is_current(found.record)}
            if todo := [(recipe, seed) for recipe, seed in group if recipe.key(seed) not in done]:
                trained = self._train(todo, progress and progress(todo), [needs[r.key(s)] for r, s in todo])
                done |= {found.record["key"]: found for found in trained}
        return done

    def _train(
        self, pairs: Sequence[tuple[Recipe, int]], progress: str | None, needs: Sequence[Needs]
    ) -> list[Training]:
        recipe, seed = pairs[0]
        keys, codes = [r.key(s) for r, s in pairs], [one.code_of(r) for r, _ in pairs]
        amp = autocast_dtype(recipe.precision, self.device)
        number_format = "float32" if amp is None else "bfloat16"
        arithmetic = [codes[0], self.device.type, number_format, environment.threads(self.device)]
        if len(pairs) > 1:
            arithmetic += [codes, keys]
        name = f"state-{hashlib.sha256(json.dumps(arithmetic).encode()).hexdigest()[:12]}.safetensors"
        state = self.folder(keys[0]) / name
        if len(pairs) == 1:
            self._continue_a_shorter(recipe, seed, state)
        started, before = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"), operations.total()
        trained = one.train_many(pairs, self.device, checkpoint=state, progress=progress, weights=self._with_weights)
        told = {
            "precision": number_format,
            "environment": environment.describe(self.device),
            "started": started,
        }
        share = (operations.total() - before) // len(pairs)
        kept = []
        for (recipe, seed), done, code, wanted in zip(pairs, trained, codes, needs, strict=True):
            if not wanted.weights and not wanted.measures:
                done.arrays = {}  # hundreds of networks in NumPy would fill a disk, and are soon trained again
            done.history.operations = counted(recipe, done.history.iterations, done.history.operations)
            own = {"code": code, "operations": done.history.operations or share}
            kept.append(self._keep(recipe, seed, done, name, told | own))
        for each in kept:
            for old in each.folder.glob("state-*.safetensors*"):
                if old.name != each.record["state"]:
                    old.unlink(missing_ok=True)  # of other code, or another machine's arithmetic
        return kept

    def _keep(self, recipe: Recipe, seed: int, done: one.Trained, state: str, told: dict) -> Training:
        """Write a training's weights, scores and record into its folder."""
        key = recipe.key(seed)
        folder = self.folder(key)
        if done.arrays:
            tensor_files.write(folder / WEIGHTS, done.arrays, {"key": key})
        record = {
            "key": key,
            "recipe": recipe.canonical(),
            "seed": seed,
            "stem": recipe.stem,
            "history": rounded(asdict(done.history)),
            "final": rounded(done.final),
            "data": one.dataset(recipe, self.device).provenance,
            "verified": [],
            "state": WEIGHTS if done.arrays else None if done.model is None else state,
            "extra": rounded(done.extra),
            **told,
        }
        if done.scores:
            arrays = {which: scores.numpy() for which, scores in done.scores.items()}
            tensor_files.write(folder / "scores.safetensors", arrays, {"key": key})
        write_record(folder / "record.json", record)
        return Training(recipe, seed, record, folder, self.device)

    def _with_weights(self, recipe: Recipe, seed: int) -> Training:
        return self.get(recipe, seed, weights=True)  # pyright: ignore[reportReturnType]

    def _continue_a_shorter(self, recipe: Recipe, seed: int, state: Path) -> None:
        """Begin where the longest shorter training of the same stem, code and arithmetic ended."""
        if state.exists():
            return
        shorter = [head for head in self.shorter(recipe, seed) if head.state == state.name]
        if shorter:
            state.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.folder(shorter[-1].key) / state.name, state.with_suffix(".copy"))
            os.replace(state.with_suffix(".copy"), state)

    def shorter(
        self, recipe: Recipe, seed: int, among: Mapping[tuple[str, int], list[Head]] | None = None
    ) -> list[Head]:
        """Return the heads of trainings whose ends a longer one may begin from, the longest last.

        `among` is what `by_stem` returned, where several are asked for.
        """
        if not recipe.epochs:
            return []
        alike = (self.by_stem() if among is None else among).get((recipe.stem, seed), ())
        there = [head for head in alike if head.state and (self.folder(head.key) / head.state).exists()]
        return sorted((head for head in there if head.epochs < recipe.epochs), key=lambda head: head.epochs)

    def verify(self, found: Training) -> bool:
        """Replay the first steps of a training with today's code; note in its record if the losses are the same.

        Only on a device of the kind that it was trained on, whose random numbers alone are the same.
        """
        record = found.record
        then = record["history"]["step_loss"][: one.FIRST_STEPS]
        if record["environment"]["device_type"] != self.device.type or not then:
            return False
        whole = from_canonical(record["recipe"])
        steps = min(len(then), record["history"]["iterations"])
        now = one.train(whole, found.seed, self.device, steps=steps, weights=self._with_weights).history.step_loss
        near, pairs = SAME_LOSS[record["precision"]], zip(then, map(rounded, now), strict=False)
        # one that exploded in its first steps has None there
        same = all(a == b if None in (a, b) else math.isclose(a, b, rel_tol=near, abs_tol=near) for a, b in pairs)  # pyright: ignore[reportArgumentType]
        if not same:
            print(f"Training {record['key']} is stale: today's code begins otherwise.", file=sys.stderr)
            return False
        whole_key = record.get("part_of", record["key"])
        place = self.folder(whole_key) / "record.json"
        kept = read_record(place) or (self.published and read_record(self.published / f"{whole_key}.json"))
        if kept:
            with self.alone(whole_key):
                write_record(place, {**kept, "verified": [*kept["verified"], one.code_of(whole)]})
        return True

    @contextmanager
    def alone(self, key: str, wait: bool = True) -> Iterator[None]:
        """Keep other processes from making the same training.

        Raises:
            Timeout: another is at it, and `wait` is False.
            RunError: the folder cannot be written to.
        """
        try:
            (self.root / "locks").mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.root / "locks" / f"{key}.lock")
            lock.acquire(timeout=1e9 if wait else 0)
        except NotImplementedError:  # some clusters' file systems know no locks; Snakemake runs each training once
            yield
            return
        except OSError as error:
            if isinstance(error, Timeout):
                raise
            raise RunError(f"{self.root} cannot be written to ({error.strerror}); allow writing there.") from None
        try:
            yield
        finally:
            lock.release()


def _names(folder: Path) -> list[str]:
    """Return the names of what lies in a folder, in order."""
    return sorted(os.listdir(folder)) if folder.is_dir() else []


def _has_its_steps(recipe: Recipe, record: dict) -> bool:
    """Whether a record has the loss of every step, where the recipe asks for it: committed records leave them out."""
    return not recipe.every_step or len(record["history"]["step_loss"]) >= record["history"]["iterations"]
