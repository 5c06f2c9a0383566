"""PyTorch's count of operations, mended for grouped convolutions.

A module of its own that no loop imports: how operations are counted changes no training, so that no stored one has to
be compared again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.utils import flop_counter


def _backward(grad, x, weight, _bias, _stride, _padding, _dilation, transposed, _more, _groups, mask, **_) -> int:
    return sum(mask[:2]) * flop_counter.conv_flop_count(x, weight, grad, transposed)


@contextmanager
def grouped_convolutions() -> Iterator[None]:
    """Count the gradient of a grouped convolution rightly in every `FlopCounterMode` that is made inside.

    PyTorch (2.15) takes the gradient of its weights for that of an ungrouped one, so many times too much as there are
    groups. Each of the two gradients costs what the convolution does.
    """
    registry, name = flop_counter.flop_registry, torch.ops.aten.convolution_backward
    before = registry[name]
    registry[name] = flop_counter.shape_wrapper(_backward)
    try:
        yield
    finally:
        registry[name] = before
