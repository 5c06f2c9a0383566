"""What a chapter's claims wait for that were not run at full scale: trainings, and the operations that these take."""

from __future__ import annotations

from collections import defaultdict

from cifar_utils.train.foresight import operations_of_step, steps
from cifar_utils.train.measures import lacking
from cifar_utils.train.records import Training, is_current

from .trainings import Job, find_all, plan, store


def waits(name: str) -> dict:
    """Return what a chapter still has to train at profile `full`, as its record keeps it.

    A training whose network or scores are needed is waited for even where its record is there: only the machine that
    trained it has those.

    Returns:
        `trainings`: how many; `operations`: of all of these, by kind of network; `more`: whether what comes out of
        them decides about others.
    """
    jobs, more = plan(name, "full")
    found = zip(jobs, find_all(store(), jobs), strict=True)
    missing = [job for job, there in found if not _is_enough(job, there)]
    of_step: dict[tuple, float] = {}
    operations: defaultdict[str, float] = defaultdict(float)
    for job in missing:
        recipe = job.recipe
        decides = (recipe.data, *map(str, (recipe.model, recipe.draw, recipe.augment)), recipe.batch)
        if decides not in of_step:
            of_step[decides] = operations_of_step(recipe) or 0.0
        operations[recipe.model.name] += of_step[decides] * steps(recipe)
    return {"trainings": len(missing), "operations": dict(operations), "more": more}


def _is_enough(job: Job, there: Training | None) -> bool:
    """Whether a training's record tells a chapter all that it needs, on whatever machine."""
    if there is None or job.needs.weights or job.needs.scores:
        return False
    return is_current(there.record) and not lacking(there.record, job.needs.measures)
