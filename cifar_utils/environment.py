"""What a result was computed on: recorded beside every number."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

import torch

from .paths import root


def device_name(device: torch.device) -> str:
    """Return the device in words, such as `CPU (AMD EPYC, 2 threads)` or a GPU's name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if "model name" in line]
        model = lines[0] if lines else model
    return f"CPU ({model}, {torch.get_num_threads()} threads)"


def commit() -> str:
    """Return the project's commit, with `+` behind it where files differ from it; `unknown` without git."""
    if "CIFAR_UTILS_COMMIT" in os.environ:
        return os.environ["CIFAR_UTILS_COMMIT"]
    try:
        git = lambda *a: subprocess.run(  # noqa: E731
            ["git", "-C", str(root()), *a], capture_output=True, text=True, check=True
        ).stdout.strip()
        tracked_changes = git("status", "--porcelain", "--untracked-files=no", "--", "cifar_utils", "notebooks")
        return git("rev-parse", "--short=10", "HEAD") + ("+" if tracked_changes else "")
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
        "threads": torch.get_num_threads(),
        "commit": commit(),
    }
