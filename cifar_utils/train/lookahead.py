"""Weights that are drawn back to a slow average of themselves: Lookahead (Zhang et al., 2019), behind two optimizers.

Neither is in the recipe that the book takes: airbench94.py has the first, and whether the second pays is tried on
held-out images.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch.nn import Parameter

from ..data.sets import Dataset
from ..errors import ParameterError
from ..models.fast import FastNet
from . import parts
from .muon import Muon


class Lookahead(torch.optim.Optimizer):
    """What an optimizer becomes that stands behind this one among the bases of a class.

    Every few steps the slow average goes a share of the way to the weights, and the weights become it. In the first
    steps that is all of the way; what stays grows with the third power of the steps taken, up to `keep` in the last,
    as in Jordan's airbench94.py. The optimizer has to have its groups before `look_ahead` is called.
    """

    def look_ahead(self, total: int, every: int = 5, keep: float = 0.95**5) -> None:
        """Begin.

        Args:
            total: steps of the whole training; after the last one the weights are the slow average.
            every: steps from one meeting of the two to the next.
            keep: the share of the slow average that stays in the last of them, 0..1.

        Raises:
            ParameterError: a number of steps below 1, or a share outside 0..1.
        """
        if total < 1 or every < 1 or not 0 <= keep <= 1:
            raise ParameterError(
                f"total, every and keep are {total}, {every} and {keep}; expected steps from 1 on, and a share "
                "from 0 to 1."
            )
        for group in self.param_groups:
            group |= {"total": total, "every": every, "keep": keep, "taken": 0}

    @torch.no_grad()
    def step(self, closure=None) -> None:
        """Take one step of the other optimizer, and meet the slow average where it is time."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if "slow" not in self.state[parameter]:
                    self.state[parameter]["slow"] = parameter.clone()
        super().step(closure)
        for group in self.param_groups:
            group["taken"] += 1
            met, ends = group["taken"] % group["every"] == 0, group["taken"] == group["total"]
            way = 1 - group["keep"] * min(1.0, group["taken"] / group["total"]) ** 3
            for parameter in group["params"] if met or ends else ():
                slow = self.state[parameter]["slow"]
                if met:
                    slow.lerp_(parameter, way)
                parameter.copy_(slow)


class DescentWithLookahead(Lookahead, torch.optim.SGD):
    """Nesterov's descent with rates of its own for vectors: the optimizer of airbench94.py (Jordan, 2024).

    The rates are for a loss that is a mean over the batch; after Jordan's for a sum over 1,024 images.

    Args:
        parameters: of the network; vectors are told apart by their dimension.
        total: as for `Lookahead.look_ahead`.
        lr, bias_lr: of filters and matrices, and of vectors.
        momentum: Nesterov's.
        weight_decay: a step takes rate / (first rate) times so much of every parameter away.
        ahead: further options of `Lookahead.look_ahead`.

    Raises:
        ParameterError: a rate that is not positive, and as `Lookahead.look_ahead`.
    """

    def __init__(
        self,
        parameters: Iterable[Parameter],
        total: int,
        lr: float = 1.5,
        bias_lr: float = 96.0,
        momentum: float = 0.85,
        weight_decay: float = 0.002,
        **ahead,
    ):
        if min(lr, bias_lr) <= 0:
            raise ParameterError(f"lr and bias_lr are {lr} and {bias_lr}; expected more than 0.")
        each = list(parameters)
        kinds = (lr, [p for p in each if p.dim() > 1]), (bias_lr, [p for p in each if p.dim() <= 1])
        groups = [dict(params=of, lr=rate, weight_decay=weight_decay / rate) for rate, of in kinds if of]
        torch.optim.SGD.__init__(self, groups, lr=lr, momentum=momentum, nesterov=True)
        self.look_ahead(total, **ahead)


class MuonWithLookahead(Lookahead, Muon):
    """Muon whose weights meet a slow average of themselves.

    Args:
        parameters, options: as for `Muon`.
        total: as for `Lookahead.look_ahead`.
    """

    def __init__(self, parameters: Iterable[Parameter], total: int, **options):
        Muon.__init__(self, parameters, **options)
        self.look_ahead(total)


@parts.register("model", "fast by descent")
def fast_by_descent(data: Dataset, divide: float = 9.0, **options) -> FastNet:
    """The fast network as airbench94.py has it: the last layer begins as PyTorch's own, and scores are divided."""
    network = FastNet(len(data.classes), divide=None, **options)
    network.divide = divide
    return network


@parts.register("optimizer", "descent with lookahead")
def descent_with_lookahead(parameters, **options) -> DescentWithLookahead:
    """Nesterov's descent, whose weights meet a slow average of themselves every few steps."""
    return DescentWithLookahead(parameters, **options)


@parts.register("optimizer", "Muon with lookahead")
def muon_with_lookahead(parameters, **options) -> MuonWithLookahead:
    """Muon, whose weights meet a slow average of themselves every few steps."""
    return MuonWithLookahead(parameters, **options)
