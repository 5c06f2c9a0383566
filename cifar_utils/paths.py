"""Where things lie in the project: one place, so that a notebook runs from any folder."""

from __future__ import annotations

from pathlib import Path


def root() -> Path:
    """Return the project's root: the folder above the package that holds `notebooks` and `claims`."""
    return Path(__file__).resolve().parent.parent
