"""Where things lie in the project: one place, so that a notebook runs from any folder."""

from __future__ import annotations

import os
from pathlib import Path


def root() -> Path:
    """Return the project's root, the folder that holds `notebooks`, `params` and `claims`.

    It is the folder above the package, or `$CIFAR_UTILS_ROOT` (a project of your own, or a test's).
    """
    return Path(os.environ.get("CIFAR_UTILS_ROOT") or Path(__file__).resolve().parent.parent)
