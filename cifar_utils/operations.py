"""How many floating-point operations the trainings of this process took: a cost that no machine changes.

The first step of every batch size is counted by PyTorch's `FlopCounterMode` (products and convolutions,
forward and backward; one multiplication and addition are two operations), the other steps by its result.
Networks in NumPy, which PyTorch cannot see, count their matrix products themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

_spent = 0


def add(count: int) -> None:
    """Add the operations of a finished training to the sum."""
    global _spent
    _spent += int(count)


def total() -> int:
    """Return the sum over all trainings of this process."""
    return _spent


def of_dense(sizes: Sequence[int]) -> int:
    """Return the operations of one training example through dense layers of these sizes.

    Three products a layer: forward, and back to its weights and to its inputs, but not to the images.
    """
    return 6 * sum(a * b for a, b in pairwise(sizes)) - 2 * sizes[0] * sizes[1]


class StepCounter:
    """Counts the steps of one training.

    Attributes:
        count: operations of all steps so far.
    """

    def __init__(self, count: int = 0):
        self.count = count
        self._of_size: dict[int, int] = {}

    @contextmanager
    def step(self, size: int) -> Iterator[None]:
        """Count what runs inside as one step on a batch of `size` examples."""
        if size in self._of_size:
            yield
        else:
            from torch.utils.flop_counter import FlopCounterMode  # here: NumPy's networks need no PyTorch

            with FlopCounterMode(display=False) as counter:
                yield
            self._of_size[size] = counter.get_total_flops()
        self.count += self._of_size[size]
