"""A small training with every kind of state, which several tests run."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim import lr_scheduler as lrs

from cifar_utils.data.batches import Batches, training_batches
from cifar_utils.train.loop import History, fit, seed_everything


class Net(nn.Module):
    """Small, with everything that has state: dropout, batch norm, two layers."""

    def __init__(self, hidden: int = 16, dropout: float = 0.3):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(3 * 12 * 10, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(hidden, 10),
        )  # fmt: skip

    def forward(self, x):
        return self.layers(x)


def weights(model) -> torch.Tensor:
    return torch.cat([v.flatten().double() for v in model.state_dict().values()])


OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.05),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=1e-4),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.001),
}

SCHEDULES = {
    "none": lambda o: None,
    "step": lambda o: lrs.StepLR(o, 2, gamma=0.5),
    "milestones": lambda o: lrs.MultiStepLR(o, [2, 4], gamma=0.1),
    "cosine": lambda o: lrs.CosineAnnealingLR(o, 6),
    "lambda": lambda o: lrs.LambdaLR(o, lambda epoch: 1 / (1 + epoch)),
    "sequence": lambda o: lrs.SequentialLR(
        o, [lrs.ConstantLR(o, 0.5, total_iters=2), lrs.MultiStepLR(o, [1, 3], gamma=0.1)], milestones=[2]
    ),
}


def run(images, *, epochs=6, optimizer="momentum", schedule="none", seed=0, net=Net, batch=16, **options):
    """Train a small net from scratch, augmented, and return it with its history."""
    seed_everything(seed)
    model = net()
    batches = training_batches(images, batch, crop=2, flip=True, seed=seed)
    optimizer = OPTIMIZERS[optimizer](model.parameters())
    held_out = {"val": Batches.for_evaluation(images, batches)}
    if "iterations" not in options:
        options["epochs"] = epochs
    history = fit(
        model, batches, optimizer, evaluate_on=held_out, schedule=SCHEDULES[schedule](optimizer), **options
    )  # fmt: skip
    return model, history


def same(a: History, b: History) -> bool:
    """Whether two histories agree in everything but the clock."""
    return {**vars(a), "seconds": 0} == {**vars(b), "seconds": 0}
