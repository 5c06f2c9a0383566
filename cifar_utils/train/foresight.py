"""What a training will take, before it is begun: its steps, and the operations of one, counted on shapes alone."""

from __future__ import annotations

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
    short = recipe.but(sample=True, images=None, validation=None, batch=FEW)
    data = one.dataset(short, cpu)
    train, given, _ = parts.batch_options(short, data, False, 0)
    x = next(iter(parts.build("draw", short.draw, train, short.batch, given)))[0]
    try:
        with grouped_convolutions(), torch.device("meta"), FlopCounterMode(display=False) as counter:
            model: nn.Module = parts.build("model", recipe.model, data)
            model(torch.zeros(x.shape)).sum().backward()
    except RuntimeError:
        return None
    return counter.get_total_flops() * recipe.batch / FEW
