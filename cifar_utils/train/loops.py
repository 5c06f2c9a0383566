"""Other ways to train a recipe than one network in PyTorch: networks in NumPy, and stacks of many at once.

A loop is registered as a part, and called with trainings that differ only in what it says it can vary::

    @parts.register("loop", "mine", many=True, varies=("seed", "optimizer.lr"), knows=("draw",), code=(helper,))
    def mine(pairs, device, *, checkpoint, progress, weights, steps, **options) -> list[Trained]: ...

- `many`: it gets several (recipe, seed) and returns as many `Trained`, whose histories have their share of the
  seconds; without it, one `recipe, seed` and returns one `Trained`.
- `usually`: how many are trained at once as a rule, for estimates of the time that one takes.
- `varies`: fields (`seed`, `model`), or options of parts (`optimizer.lr`), in which they may differ.
- `knows`: fields of a recipe that it heeds beside `training.EVERY_LOOP`; recipes with others are refused.
- `code`: functions, and lines of imports from the package, that decide its numbers beside its own source.
- `restore`: makes a `Training`'s `model` from its `arrays`, where that is no PyTorch network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn

from ..data import Split
from ..device import autocast_dtype
from ..errors import ParameterError
from . import parts, stacked
from .recipe import Recipe
from .records import Training
from .training import FIRST_STEPS, Trained, dataset, part_of


def member(training: Training) -> nn.Module:
    """Return a network that was trained in a stack, alone, on its device and in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        network = parts.build("model", training.recipe.model, training.data)
    network.load_state_dict({name: torch.from_numpy(values) for name, values in training.arrays.items()})
    return network.to(training.device).eval()


@parts.register(
    "loop",
    "stacked",
    many=True,
    varies=("seed", "optimizer.lr", "optimizer.weight_decay"),
    knows=("start", "precision", "every_step"),
    most=250,
    usually=16,
    code=("from cifar_utils.train.stacked import fit, evaluate", part_of, parts.batch_options),
    restore=member,
)
def stack(
    pairs: Sequence[tuple[Recipe, int]],
    device: torch.device,
    *,
    checkpoint: Path | None = None,
    progress: str | None = None,
    weights: Callable[[Recipe, int], Training] | None = None,
    steps: int | None = None,
    order: str = "own",
) -> list[Trained]:
    """Train small networks of one shape at once with `stacked.fit`; they may differ in seed, rate and weight decay.

    With the option `order="shared"` all see the batches of seed 0, which makes their first layers one product.
    """
    recipe, data = pairs[0][0], dataset(pairs[0][0], device)
    _check(recipe, device, order)
    train, given, prepared = parts.batch_options(recipe, data, False, 0)

    def ready(split: Split) -> Split:
        split = prepared(split)
        if split.x.dtype == torch.uint8 and "stats" not in given:
            return Split(split.x.float() / 255, split.y)
        return split

    def networks():
        for each, seed in pairs:
            network = parts.build("model", each.model, data)
            if any(isinstance(layer, nn.Dropout) for layer in network.modules()):
                raise ParameterError(
                    "A stack draws one dropout for all its networks; train this one with loop 'torch'."
                )
            if isinstance(each.start, Recipe) and weights is not None:
                parts.take_over(network, weights(each.start, seed).model)
            yield network

    options, train, following = recipe.optimizer.options, ready(train), networks()
    named = lambda sets: {which.partition(":")[0]: ready(part_of(which, data)) for which in sets}  # noqa: E731
    sweep = stacked.fit(
        lambda: next(following),
        train,
        seeds=[seed for _, seed in pairs],
        lr=[each.optimizer["lr"] for each, _ in pairs],  # pyright: ignore[reportArgumentType]
        weight_decay=[each.optimizer.options.get("weight_decay", 0.0) for each, _ in pairs],  # pyright: ignore[reportArgumentType]
        momentum=options.get("momentum", 0.0),  # pyright: ignore[reportArgumentType]
        batch_size=recipe.batch,
        epochs=recipe.epochs or 1,
        order="own" if order == "own" else 0,
        evaluate_on={} if steps else named(recipe.evaluate),
        every_step=recipe.every_step,
        keep_first=FIRST_STEPS,
        steps=steps,
    )
    found = {} if steps else {n: stacked.evaluate(sweep.networks, s, train) for n, s in named(recipe.final).items()}
    trained = []
    for m, history in enumerate(sweep.histories):
        history.seconds /= len(pairs)
        final = {name: {"loss": loss[m], "accuracy": right[m]} for name, (loss, right, _) in found.items()}
        scores = {name: each[m] for name, (_, _, each) in found.items() if name != "train"}
        state = sweep.networks.member(m).state_dict()
        arrays = {name: values.detach().cpu().numpy() for name, values in state.items()}
        trained.append(Trained(None, history, final, scores, arrays))
    return trained


def _check(recipe: Recipe, device: torch.device, order: str) -> None:
    if order not in ("own", "shared"):
        raise ParameterError(f"The order of a stack is {order!r}; expected 'own' or 'shared'.")
    if recipe.optimizer.name != "SGD" or set(recipe.optimizer.options) - {"lr", "weight_decay", "momentum"}:
        raise ParameterError(
            f"A stack is trained by SGD, with momentum or without; the recipe has {recipe.optimizer}."
        )
    if autocast_dtype(recipe.precision, device) is not None:
        raise ParameterError("A stack computes in float32; say precision='float32' in its recipe.")
    if recipe.start is not None and not isinstance(recipe.start, Recipe):
        raise ParameterError(f"A stack starts from another training; the recipe has {recipe.start}.")
