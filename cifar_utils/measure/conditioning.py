"""How badly conditioned the problem of a first convolution is: second moments of patches, and their eigenvalues."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ..data.prepare import as_floats
from ..data.sets import Split
from ..device import float64_device
from ..errors import ParameterError


def patch_moments(split: Split, kernel: int = 5, padding: int = 2) -> Tensor:
    """Return the second moments of what one filter of a first convolution sees, float64 (K, K).

    That is the mean of p p^T over all images and places, where p holds the C*kernel*kernel pixels
    of a window and a one for the bias, so K = C*kernel^2 + 1. For a squared error it is, up to a
    factor, the Hessian in the filter's weights: its condition number says how much slower gradient
    descent is in the worst direction than in the best.

    Raises:
        ParameterError: the kernel does not fit the padded image.
    """
    channels, height, width = split.x.shape[1:]
    if not 1 <= kernel <= min(height, width) + 2 * padding:
        raise ParameterError(
            f"kernel is {kernel}; expected 1 to {min(height, width) + 2 * padding} for these images."
        )
    size = channels * kernel**2 + 1
    total, count = torch.zeros(size, size, dtype=torch.float64, device=float64_device(split.x.device)), 0
    for start in range(0, len(split), 100):
        x = as_floats(split[slice(start, start + 100)])
        windows = F.unfold(x, kernel, padding=padding).transpose(1, 2).flatten(0, 1)
        windows = torch.cat([windows, torch.ones_like(windows[:, :1])], 1)
        total += (windows.T @ windows).to(total.device).double()
        count += len(windows)
    return total / count


def condition_number(matrix: Tensor) -> float:
    """Return the largest over the smallest eigenvalue of a symmetric matrix; infinite where it is singular."""
    values = torch.linalg.eigvalsh(matrix.double())
    return float(values[-1] / values[0]) if float(values[0]) > 0 else float("inf")
