"""Save and restore a training run as one file: tensors as tensors, the rest as JSON beside them."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

from ..errors import RunError
from ..files import tensor_files

Found = TypeVar("Found")


def save(path: Path, model: torch.nn.Module, optimizer, generators: dict, meta: dict) -> None:
    """Write weights, optimizer state, generator states and `meta` (JSON-ready) to `path`, all or nothing.

    Raises:
        RunError: the disk is full, or may not be written to.
    """
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
    text = json.dumps({**meta, "groups": state["param_groups"], "scalars": scalars})
    tensor_files.write(path, {k: v.detach().cpu().numpy() for k, v in tensors.items()}, {"meta": text})


def restore(path: Path, model: torch.nn.Module, optimizer) -> tuple[dict, dict]:
    """Load weights and optimizer state from `path`; return the generator states and `meta`.

    Raises:
        RunError: the file is damaged, or belongs to a model or optimizer of another kind.
    """
    arrays, texts = tensor_files.read(path)
    tensors, meta = {k: torch.tensor(v) for k, v in arrays.items()}, json.loads(texts["meta"])
    part = lambda p: {k[len(p) :]: v for k, v in tensors.items() if k.startswith(p)}  # noqa: E731
    state: dict = {}
    for key, value in (part("optimizer.") | meta.pop("scalars")).items():
        index, slot = key.split(".", 1)
        state.setdefault(int(index), {})[slot] = value
    groups = meta.pop("groups")
    if [set(g) for g in groups] != [set(g) for g in optimizer.param_groups]:
        raise RunError(f"{path.name} holds the state of another optimizer; use the one that wrote it.")
    _load(path, part("model."), model)
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    return part("generator."), meta


def resume(path: Path | None, restore: Callable[[Path], Found], *parts) -> Found | None:
    """Return what `restore(path)` returns; None where there is nothing to continue from.

    `parts` (a model, an optimizer, ...) and PyTorch's generator are then as before, and a file that cannot be
    continued from is put aside, as by `tensor_files.resume`.
    """
    if path is None or not Path(path).exists():
        return None
    before, random = [copy.deepcopy(p.state_dict()) for p in parts], torch.get_rng_state()
    found = tensor_files.resume(path, restore)
    if found is None:
        torch.set_rng_state(random)
        for each, state in zip(parts, before, strict=True):
            each.load_state_dict(state)
    return found


def weights_of(path: Path, model: torch.nn.Module) -> None:
    """Load the weights of a checkpoint (`save`) into `model`, in place, and nothing else of it.

    Raises:
        RunError: the file is damaged, or belongs to a model of another architecture or width.
    """
    arrays, _ = tensor_files.read(path)
    _load(path, {k.removeprefix("model."): torch.tensor(v) for k, v in arrays.items() if k[:6] == "model."}, model)


def _load(path: Path, tensors: dict[str, torch.Tensor], model: torch.nn.Module) -> None:
    """Load weights into `model` if all of them fit, and none otherwise."""
    wanted = model.state_dict()
    for key in [*wanted, *tensors]:
        there, here = (tuple(d[key].shape) if key in d else "nothing" for d in (tensors, wanted))
        if there != here:
            raise RunError(
                f"{path.name} holds weights of another architecture: {key} is {there} there and {here} in the model; "
                "build the model that wrote it, of the same width."
            )
    model.load_state_dict(tensors)
