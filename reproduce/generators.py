"""The global generators of random numbers: where they stand, and how they are put back there."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def begin() -> None:
    """Let all begin alike in every run: what no cell seeds is the same then.

    By itself PyTorch's begins elsewhere in every process.
    """
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)


def states(device: torch.device) -> dict[str, Any]:
    """Return the states of PyTorch's, NumPy's and Python's global generators, and of that of a GPU."""
    found = {"torch": torch.get_rng_state().numpy(), "numpy": np.random.get_state(), "python": random.getstate()}
    if device.type != "cpu":
        found["device"] = getattr(torch, device.type).get_rng_state().cpu().numpy()
    return found


def restore(given: Mapping[str, Any], device: torch.device) -> None:
    """Put the generators that `given` names into its states; the others stay where they are."""
    setters: dict[str, Callable] = {
        "torch": lambda state: torch.set_rng_state(torch.from_numpy(state)),
        "numpy": np.random.set_state,
        "python": random.setstate,
        "device": lambda state: getattr(torch, device.type).set_rng_state(torch.from_numpy(state)),
    }
    for key, state in given.items():
        setters[key](state)


@contextmanager
def untouched(device: torch.device) -> Iterator[None]:
    """Leave the generators as they were, whatever is drawn inside."""
    before = states(device)
    try:
        yield
    finally:
        restore(before, device)
