"""Deep networks in recipes: the model `deep`, and the loop `deep stack`, which trains many of one depth at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from ..data.sets import Dataset
from ..device import autocast_dtype
from ..errors import ParameterError
from ..models.deep import WIDTHS, DeepNetwork, Setting
from . import deep_stack, parts
from .loop import History
from .recipe import Part, Recipe
from .records import Training
from .training import FIRST_STEPS, Trained, dataset, part_of

#: Training images seen from which on a run of the stack leaves checkpoints, which are gigabytes.
LONG = 100_000

#: What `DeepRun` has by epoch beside a history's own tables.
MEASURED = ("val_ranks", "gradients", "updates", "weights")


@parts.register("model", "deep", channels_last=False)
def deep(data: Dataset, widths: Sequence[int] = WIDTHS, **setting) -> DeepNetwork:
    """A deep fully connected network, by the options of `Setting`."""
    return DeepNetwork(Setting(**setting), data.train.x[0].numel(), len(data.classes), tuple(widths))


@parts.register(
    "loop",
    "deep stack",
    many=True,
    varies=("seed", "model.activation", "model.init", "model.norm", "model.residual"),
    knows=("precision",),
    usually=9,
    code=("from cifar_utils.train.deep_stack import fit, evaluate", part_of),
)
def stack(
    pairs: Sequence[tuple[Recipe, int]],
    device: torch.device,
    *,
    checkpoint: Path | None = None,
    progress: str | None = None,
    weights: Callable[[Recipe, int], Training] | None = None,
    steps: int | None = None,
    measured_steps: int = 20,
) -> list[Trained]:
    """Train networks of the model `deep`, of one depth, by `deep_stack.fit`: settings times seeds at once.

    After every epoch it measures `val`, after the last one `val` and `test`. Of every epoch `extra` has the mean norm
    of each layer's `gradients` and `updates` over `measured_steps` steps, the norm of its `weights`, and `val_ranks`,
    the shares of images whose true class has so many better scored ones. The networks are not kept.
    """
    recipe, data = pairs[0][0], dataset(pairs[0][0], device)
    if recipe.prepare.name != "-1..1" or len(recipe.evaluate) != 1 or not recipe.evaluate[0].startswith("val"):
        raise ParameterError(
            f"A deep stack trains on images prepared as -1..1 and evaluates on val alone; the recipe has "
            f"{recipe.prepare} and {', '.join(recipe.evaluate) or 'nothing'}."
        )
    if unknown := set(recipe.final) - {recipe.evaluate[0], "test"}:
        raise ParameterError(f"A deep stack has at its end {recipe.evaluate[0]} and test; not {unknown.pop()}.")
    rows: dict[tuple[int, ...], list[Part]] = {}  # networks by the seeds that are wanted of them
    for model in dict.fromkeys(each.model for each, _ in pairs):
        rows.setdefault(tuple(seed for each, seed in pairs if each.model == model), []).append(model)
    trained: dict[tuple[Part, int], Trained] = {}
    for number, (seeds, models) in enumerate(rows.items()):
        place = None
        if checkpoint and (recipe.epochs or 0) * len(data.train) > LONG:
            place = checkpoint.with_name(f"{checkpoint.stem}-{number}.safetensors")
        run = deep_stack.fit(
            [Setting(**{k: v for k, v in model.options.items() if k != "widths"}) for model in models],
            data.train,
            part_of(recipe.evaluate[0], data),
            part_of("test", data),
            seeds=seeds,
            epochs=recipe.epochs or 1,
            steps=steps,
            batch_size=recipe.batch,
            optimizer=lambda p: parts.find("optimizer", recipe.optimizer)(p, fused=True, **recipe.optimizer.options),
            widths=tuple(recipe.model.options.get("widths", WIDTHS)),
            measured_steps=measured_steps,
            keep_first=FIRST_STEPS,
            autocast=autocast_dtype(recipe.precision, device),
            checkpoint=place,
            progress=progress,
        )
        for k, model in enumerate(models):
            trained |= {(model, seed): _member(run, k, s, recipe, len(data.train)) for s, seed in enumerate(seeds)}
    return [trained[each.model, seed] for each, seed in pairs]


def _member(run: deep_stack.DeepRun, k: int, s: int, recipe: Recipe, images: int) -> Trained:
    """Return what network `s` of setting `k` went through."""
    names = (*MEASURED, "train_loss", "train_accuracy", "val_loss", "step_loss")
    of = {name: getattr(run, name)[k, s].tolist() for name in names}
    val = {"loss": of["val_loss"], "accuracy": [ranks[0] for ranks in of["val_ranks"]]}
    epochs, lost = len(of["val_loss"]), not np.isfinite(of["train_loss"] + of["val_loss"]).all()
    history = History(
        of["train_loss"],
        of["train_accuracy"],
        {"val": val},
        of["step_loss"],
        [recipe.optimizer["lr"]] * epochs,
        epochs * -(-images // recipe.batch),
        seconds=run.seconds / run.test_loss.size,
        outcome="diverged" if lost else "finished",
    )
    ends = {
        "val": {what: values[-1] for what, values in val.items()},
        "test": {"loss": float(run.test_loss[k, s]), "accuracy": float(run.test_accuracy[k, s])},
    }
    final = {name: ends[name] for name in (which.partition(":")[0] for which in recipe.final)}
    return Trained(None, history, final, extra={name: of[name] for name in MEASURED})
