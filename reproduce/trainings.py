"""Trainings as chapters ask for them: `run.train`, and the same list without a kernel, for the queue."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import linecache
import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import torch
from IPython.display import HTML, display

from cifar_utils.device import pick_device
from cifar_utils.errors import ParameterError
from cifar_utils.measure.stats import Summary, difference, summarise
from cifar_utils.paths import chapters, notebook_path, root
from cifar_utils.train.recipe import Recipe
from cifar_utils.train.records import Training, is_current, read_record, write_record
from cifar_utils.train.store import Needs, Store
from cifar_utils.train.training import FIRST_STEPS, with_sample

from . import generators, params, recipes, versions
from .ledger import load_claims

#: The tag of cells that write recipes and call `run.train`, and nothing that needs what came out of it.
RECIPES = "recipes"


class NotTrained(ParameterError):
    """What was asked for depends on a training that is not there yet."""


def store(device: torch.device | None = None) -> Store:
    """Return the project's store: `runs/trainings`, and what is committed in `results/trainings`."""
    return _store(root(), device)


@cache  # what its index read stays read
def _store(project: Path, device: torch.device | None) -> Store:
    return Store(project / "runs" / "trainings", project / "results" / "trainings", device)


class Runs(Mapping[str, list[Training]]):
    """Trainings by the name of their arm, one a seed: `runs["12 standardised"][0].history`."""

    def __init__(self, arms: Mapping[str, Recipe], seeds: Sequence[int], found: Mapping[str, list[Training | None]]):
        self.arms, self.seeds, self._found = dict(arms), list(seeds), dict(found)

    def __getitem__(self, arm: str) -> list[Training]:
        if arm not in self._found:
            raise KeyError(f"There is no arm {arm!r}; expected one of {', '.join(self._found)}.")
        if None in (each := self._found[arm]):
            raise NotTrained(f"Arm {arm!r} is not trained yet.")
        return each  # type: ignore[return-value]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def __or__(self, other: Runs) -> Runs:
        """Return the arms of both, as of two dicts: those of one experiment that have different numbers of seeds."""
        seeds = sorted({*self.seeds, *other.seeds})
        return Runs(self.arms | other.arms, seeds, self._found | other._found)

    def accuracy(self, arm: str, which: str = "val") -> list[float]:
        """Return the final accuracies of an arm in percent, one a seed."""
        return [each.accuracy(which) for each in self[arm]]

    def summary(self, arm: str, which: str = "val") -> Summary:
        """Return mean and interval of an arm's final accuracies in percent."""
        return summarise(self.accuracy(arm, which))

    def gain(self, arm: str, over: str, which: str = "val") -> Summary:
        """Return by how many points one arm is better than another, paired by seed."""
        return difference(self.accuracy(arm, which), self.accuracy(over, which))

    def curves(self, arm: str, which: str = "val", what: str = "accuracy") -> list[list[float]]:
        """Return what was measured after every epoch, a list a seed."""
        return [each.curve(which, what) for each in self[arm]]

    def best(self, which: str = "val", among: Sequence[str] | None = None) -> str:
        """Return the arm with the highest mean accuracy: on held-out images, to choose by."""
        return max(among or self, key=lambda arm: self.summary(arm, which).mean)


def seeds_of(seeds: int | Sequence[int]) -> list[int]:
    """Return the seeds that a number (0 to n - 1) or a list stands for.

    Raises:
        ParameterError: there are none.
    """
    each = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    if not each:
        raise ParameterError(f"seeds is {seeds!r}; expected 1 or more.")
    return each


def as_arms(arms: Recipe | Mapping[str, Recipe]) -> dict[str, Recipe]:
    """Return recipes by name; one alone is called by its model's name."""
    return {arms.model.name: arms} if isinstance(arms, Recipe) else dict(arms)


def of_chapter(recipe: Recipe, values: Mapping) -> Recipe:
    """Return a recipe as a chapter's parameters have it: on sample data or not, in its number format."""
    recipe = with_sample(recipe, values["data"] == "sample")
    precision = values.get("precision", "auto")
    return recipe if precision == "auto" or recipe.precision != "auto" else recipe.but(precision=precision)


@dataclass(frozen=True)
class Job:
    """A training that a chapter needs.

    Attributes:
        chapter: the chapter's name.
        arm: what it is called there.
        recipe, seed: what to train.
        needs: what the chapter needs of it besides its record.
    """

    chapter: str
    arm: str
    recipe: Recipe
    seed: int
    needs: Needs = Needs()

    @property
    def key(self) -> str:
        """The training's key."""
        return self.recipe.key(self.seed)


def find_all(kept: Store, jobs: Sequence[Job]) -> list[Training | None]:
    """Return what a store has of each training that chapters need, as `Store.find` does."""
    return kept.find_many((job.recipe, job.seed, job.needs) for job in jobs)


class _Planned:
    """Stands in for a chapter while its recipes are read: notes what it would train, and trains nothing."""

    def __init__(self, name: str, values: dict):
        self.name, self.params = name, values
        self.jobs: list[Job] = []
        self.device = torch.device("cpu")
        self.is_sample, self.waits = values["data"] == "sample", False
        self._store = store(pick_device(values["device"]))

    def train(self, arms, seeds=1, *, show: bool = True, **needs) -> Runs:
        """Note the trainings; return those that are there."""
        arms, each, needs = as_arms(arms), seeds_of(seeds), Needs(**needs)
        wanted = {arm: of_chapter(recipe, self.params) for arm, recipe in arms.items()}
        jobs = [Job(self.name, arm, recipe, seed, needs) for arm, recipe in wanted.items() for seed in each]
        self.jobs += jobs
        found: dict[str, list[Training | None]] = {arm: [] for arm in arms}
        for job, one in zip(jobs, find_all(self._store, jobs), strict=True):
            found[job.arm].append(one if one and is_current(one.record) else None)
        return Runs(arms, each, found)

    def printed(self, *claims: str) -> list[float | None]:
        """Return the report's own numbers, by which a search may choose."""
        ledger = load_claims()
        return [ledger[claim].value for claim in claims]

    def points(self, claim: str) -> dict[float, float]:
        """Return the report's own points of a curve, by which a search may choose."""
        return dict(load_claims()[claim].points)

    def scale(self, *_, **__):
        """Do nothing: no measurement is made."""
        return contextlib.nullcontext()

    def __getattr__(self, name: str):
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *_, **__: None


def plan(name: str, profile: str, own: dict | None = None) -> tuple[list[Job], bool]:
    """Return the trainings that a chapter needs at a profile, and whether others wait for what comes out of these.

    The chapter's parameters, the cells tagged `recipes` and the imports that these use are executed here, without a
    kernel.

    Raises:
        ParameterError: unknown notebook, profile or parameter; a cell tagged `recipes` fails.
    """
    cells = json.loads(notebook_path(name).read_text(encoding="utf-8"))["cells"]
    code = [("".join(c["source"]), c["metadata"].get("tags", [])) for c in cells if c["cell_type"] == "code"]
    if not any(RECIPES in tags for _, tags in code):
        return [], False
    values = versions.parameters(name, profile) | (own or {})
    values = params.check(values, params.declared(name))
    planned = _Planned(name, values)
    words = set(re.findall(r"\w+", "\n".join(source for source, tags in code if RECIPES in tags)))
    space: dict = {"__name__": "__plan__", **values}
    for number, (source, tags) in enumerate(code):
        try:
            if RECIPES not in tags:
                exec(compile(_imports(source, words), name, "exec"), space)
                continue
            space["run"] = planned
            place = f"<{name}, code cell {number}>"
            # a part that the chapter writes itself has its code summed up, for which Python must find its lines
            linecache.cache[place] = (len(source), None, source.splitlines(keepends=True), place)
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile(source, place, "exec"), space)
        except NotTrained:
            planned.waits = True
        except NameError:
            if not planned.waits:
                raise
        except ParameterError:
            raise
        except Exception as error:
            raise ParameterError(
                f"{name}: a cell tagged {RECIPES} fails without a kernel ({type(error).__name__}: {error}); it may "
                "only use imports, parameters and what other such cells define."
            ) from error
    jobs: dict[str, Job] = {}
    for job in planned.jobs:  # what is asked for twice, once with its network, is one training
        same = jobs.get(job.key, job)
        jobs[job.key] = replace(same, needs=same.needs | job.needs)
    return list(jobs.values()), planned.waits


def awaited(names: Iterable[str]) -> set[str]:
    """Return the keys of all trainings that chapters need at `quick` or `full`, as far as these are known by now."""
    return {job.key for name in names for profile in ("quick", "full") for job in plan(name, profile)[0]}


@cache
def know_own_parts() -> None:
    """Register parts and measures that chapters write themselves, for trainings asked for outside of any chapter."""
    for name in chapters():
        if re.search(r"(parts|measures)\.register", notebook_path(name).read_text(encoding="utf-8")):
            with contextlib.suppress(ParameterError):
                plan(name, "smoke")


def _imports(source: str, words: Container[str]) -> ast.Module:
    """Return the imports of a cell whose names are among `words`; all of a chapter's would take seconds."""
    body: list[ast.stmt] = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            node.names = [alias for alias in node.names if (alias.asname or alias.name).split(".")[0] in words]
            body += [node] * bool(node.names)
    return ast.Module(body=body, type_ignores=[])


def for_chapter(
    chapter,
    arms: Recipe | Mapping[str, Recipe],
    seeds: int | Sequence[int],
    needs: Needs,
    show: bool = True,
) -> Runs:
    """Return a chapter's trainings: those of the store, and the others trained now. See `Chapter.train`."""
    arms = {arm: of_chapter(recipe, chapter.params) for arm, recipe in as_arms(arms).items()}
    each, kept = seeds_of(seeds), store(chapter.device)
    pairs = [(recipe, seed) for recipe in arms.values() for seed in each]
    names = {recipe.key(seed): f"{arm}, seed {seed}" for arm, recipe in arms.items() for seed in each}
    label = None if chapter.is_sample else lambda group: _label([names[recipe.key(seed)] for recipe, seed in group])
    with generators.untouched(chapter.device):  # what comes after is the same, trained now or taken from the store
        done = iter(kept.get_many(pairs, progress=label, **vars(needs)))
    runs = Runs(arms, each, {arm: [next(done) for _ in each] for arm in arms})
    for training in (training for arm in runs for training in runs[arm]):
        chapter.note_training(training)
    if show:
        display(HTML(recipes.table(runs)))
    return runs


def _label(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def published(keys: Sequence[str]) -> list[Path]:
    """Copy the records of trainings to `results/trainings`, to be committed; return what was written.

    The losses of single steps stay behind but for the first few, by which later code is compared. A key is that of
    the training itself, so a chapter that used the beginning of a longer one publishes the longer one.
    """
    written = []
    for key in keys:
        record = read_record(root() / "runs" / "trainings" / key / "record.json")
        path = root() / "results" / "trainings" / f"{key}.json"
        if record is None or (path.exists() and not is_current(record)):
            continue  # what is committed is as good, or better
        history = {**record["history"], "step_loss": record["history"]["step_loss"][:FIRST_STEPS]}
        write_record(path, {**record, "history": history})
        written.append(path)
    return written
