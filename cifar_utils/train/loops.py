"""Other ways to train a recipe than one network in PyTorch: networks in NumPy, and stacks of many at once.

A loop is registered as a part, and called with trainings that differ only in what it says it can vary:

    @parts.register("loop", "mine", many=True, varies=("seed", "optimizer.lr"), knows=("draw",), code=(helper,))
    def mine(pairs, device, *, checkpoint, progress, weights, steps, **options) -> list[Trained]: ...

- `many`: it gets several (recipe, seed) and returns as many `Trained`, whose histories have their share of the
  seconds; without it, one `recipe, seed` and returns one `Trained`.
- `varies`: fields (`seed`, `model`), or options of parts (`optimizer.lr`), in which they may differ.
- `knows`: fields of a recipe that it heeds beside `training.EVERY_LOOP`; recipes with others are refused.
- `code`: functions, and lines of imports from the package, that decide its numbers beside its own source.
- `restore`: makes a `Training`'s `model` from its `arrays`, where that is no PyTorch network.
"""

from __future__ import annotations
