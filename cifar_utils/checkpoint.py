"""Save and restore a training run as one safetensors file: tensors as tensors, the rest as JSON beside them.

Unlike a pickle, such a file cannot run code when it is opened.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from .errors import RunError


def save(path: Path, model: torch.nn.Module, optimizer, generators: dict, meta: dict) -> None:
    """Write weights, optimizer state, generator states and `meta` (JSON-ready) to `path`, all or nothing."""
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
    state = optimizer.state_dict()
    scalars: dict = {}
    for index, slots in state["state"].items():
        for slot, value in slots.items():
            if torch.is_tensor(value):
                tensors[f"optimizer.{index}.{slot}"] = value
            else:
                scalars[f"{index}.{slot}"] = value
    tensors |= {f"generator.{k}": v for k, v in generators.items()}
    # a copy of each: safetensors refuses views, and channels_last weights are not contiguous
    tensors = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
    header = {"meta": json.dumps({**meta, "groups": state["param_groups"], "scalars": scalars})}
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".part")
    save_file(tensors, draft, metadata=header)
    os.replace(draft, path)  # a run killed while writing leaves the last whole file


def restore(path: Path, model: torch.nn.Module, optimizer) -> tuple[dict, dict]:
    """Load weights and optimizer state from `path`; return the generator states and `meta`.

    Raises:
        RunError: the file belongs to a model of another architecture.
    """
    with safe_open(path, framework="pt") as f:
        tensors = {k: f.get_tensor(k) for k in f.keys()}
        meta = json.loads(f.metadata()["meta"])
    part = lambda p: {k[len(p) :]: v for k, v in tensors.items() if k.startswith(p)}  # noqa: E731
    try:
        model.load_state_dict(part("model."))
    except RuntimeError as error:
        raise RunError(
            f"{path.name} holds weights of another architecture ({str(error).splitlines()[1].strip()}); "
            f"build the model that wrote it, or delete the file to start anew."
        ) from None
    state: dict = {}
    for key, value in (part("optimizer.") | meta.pop("scalars")).items():
        index, slot = key.split(".", 1)
        state.setdefault(int(index), {})[slot] = value
    optimizer.load_state_dict({"state": state, "param_groups": meta.pop("groups")})
    return part("generator."), meta


def save_weights(path: Path, model: torch.nn.Module, **meta: str) -> None:
    """Write only the model's weights, for another notebook to read; `meta` goes into the header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {k: v.detach().cpu().contiguous().clone() for k, v in model.state_dict().items()}
    save_file(tensors, path, metadata={k: str(v) for k, v in meta.items()})


def load_weights(path: Path, model: torch.nn.Module) -> dict[str, str]:
    """Load what `save_weights` wrote into `model`, in place, and return the file's `meta`.

    Raises:
        RunError: the file belongs to a model of another architecture or width.
    """
    with safe_open(path, framework="pt") as f:
        tensors = {k: f.get_tensor(k) for k in f.keys()}
        meta = f.metadata() or {}
    wanted = model.state_dict()
    for key in [*wanted, *tensors]:
        there, here = (tuple(d[key].shape) if key in d else "nothing" for d in (tensors, wanted))
        if there != here:
            raise RunError(
                f"{path.name} holds weights of another architecture: {key} is {there} there and {here} in the model; "
                "build the model that wrote it (same width), or run the notebook that writes it again."
            )
    model.load_state_dict(tensors)
    return meta
