"""Output sizes and parameter counts, read off the built model instead of computed by hand."""

from __future__ import annotations

import torch
from torch import nn


def layer_table(model: nn.Module, image: tuple[int, ...]) -> list[dict]:
    """Return one row a leaf layer, in the order in which a forward pass reaches them.

    Args:
        model: any network.
        image: shape of one input without the batch dimension, such as (3, 32, 32).

    Returns:
        Rows with `name`, `layer` (class name), `output` (shape without the batch dimension) and
        `parameters` (weights and biases).
    """
    rows: list[dict] = []

    def note(name: str):
        def hook(module, _inputs, output):
            count = sum(p.numel() for p in module.parameters())
            rows.append({"name": name, "layer": type(module).__name__,
                         "output": tuple(output.shape[1:]), "parameters": count})  # fmt: skip

        return hook

    leaves = [(n, m) for n, m in model.named_modules() if not list(m.children())]
    handles = [m.register_forward_hook(note(n)) for n, m in leaves]
    was_training = model.training
    try:
        with torch.no_grad():
            model.eval()(torch.zeros(1, *image, device=next(model.parameters()).device))
    finally:
        model.train(was_training)
        for handle in handles:
            handle.remove()
    return rows
