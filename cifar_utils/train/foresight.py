"""What a training will take, before it is begun: its steps, and the operations of one, counted on shapes alone."""

from __future__ import annotations

import operator

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ..flops import grouped_convolutions
from . import parts
from . import training as one
from .recipe import Recipe

#: Images of the batch whose operations are counted; batch normalisation wants more than one.
FEW = 4


def steps(recipe: Recipe) -> int:
    """Return how many steps a recipe takes, as far as can be said without its data."""
    if recipe.iterations:
        return recipe.iterations
    told = (part.options.get("images") for part in (recipe.draw, recipe.select) if part)
    count = next((n for n in told if isinstance(n, int)), None) or recipe.images or one.size_of(recipe)
    return (recipe.epochs or 0) * -(-count // recipe.batch)


def operations_of_step(recipe: Recipe) -> float | None:
    """Return the floating-point operations of one step, as `cifar_utils.operations` counts them.

    Nothing is computed: the network has shapes and no numbers, and its images are those of the embedded sample.
    None where that cannot be done: a network in NumPy, or one whose forward pass looks at its numbers.
    """
    if recipe.loop.name != "torch":
        return None
    cpu = torch.device("cpu")
    short = recipe.but(sample=True, images=None, validation=None, batch=FEW, prepare="scale")
    data = one.dataset(short, cpu)
    train, given, _ = parts.batch_options(short, data, False, 0)
    batches = parts.build("draw", short.draw, train, short.batch, given)
    whole = recipe.epochs or 1
    smaller = min(len(recipe.draw.options.get("sides", ())), whole) if recipe.draw else 0  # first epochs
    epochs = [1] * smaller + [whole - smaller] * (smaller < whole)
    try:
        with grouped_convolutions(), torch.device("meta"):
            model: nn.Module = parts.build("model", recipe.model, data)
            counts = [_there_and_back(model, next(iter(batches))[0].shape) for _ in epochs]
    except RuntimeError:
        return None
    return sum(map(operator.mul, counts, epochs)) / whole * recipe.batch / FEW


def counted(recipe: Recipe, iterations: int, operations: int) -> int:
    """Return the operations of a finished training, of which its loop counted so many.

    Loops count one step of every batch size and take the others to be alike. Where the first epochs have smaller
    images they are not, and the steps are counted here: another counter in the loops would be other code for every
    stored training, none of which has such epochs.
    """
    if recipe.draw is None or not recipe.draw.options.get("sides"):
        return operations
    return round((operations_of_step(recipe) or 0) * iterations) or operations


def _there_and_back(model: nn.Module, shape: torch.Size) -> int:
    """Return the operations of one batch of this shape, forward and backward."""
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(shape)).sum().backward()
    return counter.get_total_flops()
