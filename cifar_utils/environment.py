"""What a result was computed on: recorded beside every number."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

import torch

from .device import device_name, native_bfloat16
from .paths import root


def threads(device: torch.device) -> int | None:
    """Return how many CPU threads share the work, which changes how sums are rounded; None where a GPU does it."""
    return torch.get_num_threads() if device.type == "cpu" else None


def machine(device: torch.device) -> str:
    """Return what decides how fast a training goes, in words: device, threads and instructions."""
    return f"{device_name(device)}, {threads(device)} threads, {torch.backends.cpu.get_cpu_capability()}"


def commit() -> str:
    """Return the project's commit, with `+` behind it where files differ from it.

    `unknown` without git, and in a copy without a repository of its own, such as an unpacked archive, also
    where that lies inside another repository.
    """
    if "CIFAR_UTILS_COMMIT" in os.environ:
        return os.environ["CIFAR_UTILS_COMMIT"]
    try:
        git = lambda *a: subprocess.run(  # noqa: E731
            ["git", "-C", str(root()), *a], capture_output=True, text=True, check=True
        ).stdout.strip()
        if Path(git("rev-parse", "--show-toplevel")).resolve() != root().resolve():
            return "unknown"
        decisive = ("cifar_utils", "reproduce", "notebooks", "params", "claims")
        changes = git("status", "--porcelain", "--untracked-files=all", "--", *decisive)
        return git("rev-parse", "--short=10", "HEAD") + ("+" if changes else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def describe(device: torch.device) -> dict:
    """Return versions, device, threads and commit, JSON-ready."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "platform": f"{platform.system()} {platform.machine()}",
        "device": device_name(device),
        "device_type": device.type,
        "machine": machine(device),
        "threads": threads(device),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "native_bfloat16": native_bfloat16(device),
        "commit": commit(),
    }
