"""Steps of one length along every direction: the optimizer Muon (Jordan et al., 2024)."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import Parameter

from ..errors import ParameterError

#: Coefficients of a polynomial x -> a x + b x³ + c x⁵ that drives every number in (0, 1] near one in few rounds.
QUINTIC = (3.4445, -4.7750, 2.0315)


def orthogonalise(matrix: Tensor, rounds: int = 3) -> Tensor:
    """Return a matrix (R, C) of the singular vectors of `matrix` and singular values near 1: most from 0.5 to 1.5."""
    a, b, c = QUINTIC
    x = matrix / (matrix.norm() + 1e-7)
    if tall := x.shape[0] > x.shape[1]:
        x = x.T
    for _ in range(rounds):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if tall else x


class Muon(torch.optim.Optimizer):
    """Orthogonalised momentum for filters (four dimensions); plain descent with momentum for everything else.

    Filters keep the norm √(number of filters): only their direction is learned, so they have no decay.
    `torch.optim.Muon` takes matrices alone, and keeps no norm. The rates of matrices and vectors are for a loss that
    is a mean over the batch; after Jordan's for a sum over 2,000 images, 0.67 and 0.053.

    Args:
        parameters: of the network; filters, matrices and biases are told apart by their dimensions.
        lr: of filters.
        matrix_lr, bias_lr: of matrices and of vectors.
        momentum: of filters' gradients.
        other_momentum: of the others' (Nesterov's, both).
        weight_decay: a step takes rate / (first rate) times so much of matrices and vectors away.
        rounds: of `orthogonalise`.

    Raises:
        ParameterError: a rate that is not positive.
    """

    def __init__(
        self,
        parameters: Iterable[Parameter],
        lr: float = 0.24,
        matrix_lr: float = 1340.0,
        bias_lr: float = 106.0,
        momentum: float = 0.6,
        other_momentum: float = 0.85,
        weight_decay: float = 0.0,
        rounds: int = 3,
    ):
        if min(lr, matrix_lr, bias_lr) <= 0:
            raise ParameterError(f"lr, matrix_lr and bias_lr are {lr}, {matrix_lr}, {bias_lr}; expected more than 0.")
        rates = {4: ("filters", lr, momentum), 2: ("matrices", matrix_lr, other_momentum)}
        groups: dict[str, dict] = {}
        for parameter in parameters:
            kind, rate, memory = rates.get(parameter.dim(), ("vectors", bias_lr, other_momentum))
            decay = 0.0 if kind == "filters" else weight_decay / rate
            group = {"params": [], "lr": rate, "momentum": memory, "kind": kind, "weight_decay": decay}
            groups.setdefault(kind, group)["params"].append(parameter)
        super().__init__([groups[kind] for kind in sorted(groups)], {"rounds": rounds})

    @torch.no_grad()
    def step(self, closure=None) -> None:
        """Take one step."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                gradient = parameter.grad
                if group["weight_decay"]:
                    gradient = gradient.add(parameter, alpha=group["weight_decay"])
                state = self.state[parameter]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(parameter)
                average = state["momentum"].mul_(group["momentum"]).add_(gradient)
                direction = gradient.add(average, alpha=group["momentum"])
                if group["kind"] == "filters":
                    parameter.mul_(len(parameter) ** 0.5 / parameter.norm())
                    direction = orthogonalise(direction.flatten(1), group["rounds"]).view_as(parameter)
                parameter.add_(direction, alpha=-group["lr"])
