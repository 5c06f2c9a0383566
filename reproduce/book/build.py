"""Render the book: `jupyter-book build .` into a folder of its own, and the finished pages into place."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from cifar_utils.errors import RunError
from cifar_utils.paths import root

from .edition import PROFILE_VARIABLE, Edition


def build_published() -> Path:
    """Render the committed chapters into `_build/html`; return its `index.html`."""
    return build(root() / "_build" / "html")


def build_profile(profile: str) -> Path:
    """Render the runs of a profile into `_build/PROFILE`; return its `index.html`.

    Raises:
        RunError: there is no finished run at this profile, or Jupyter Book fails.
    """
    if not Edition(profile).records:
        raise RunError(f"There is no finished run at profile {profile} to make a book of; first: "
                       f"make reproduce PROFILE={profile}")  # fmt: skip
    return build(root() / "_build" / profile, profile)


def build(out: Path, profile: str = "") -> Path:
    """Render the book; return its `index.html`.

    Args:
        out: where the pages go; whatever is there is replaced once the new pages are complete.
        profile: whose runs it is made of; the published chapters by default.

    Raises:
        RunError: Jupyter Book is not installed or fails.
    """
    if find_spec("jupyter_book") is None:
        raise RunError("jupyter-book is not installed here; install it with: pip install -r requirements.txt")
    scratch = root() / "_build" / ".stage"
    scratch.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f"{out.name}-", dir=scratch))
    try:
        _put_in_place(_jupyter_book(work, profile), out)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return out / "index.html"


def _jupyter_book(work: Path, profile: str) -> Path:
    """Run Jupyter Book with warnings as errors; return the folder of its pages, below `work`."""
    # without jsonschema's grammar of internationalised addresses, which takes 3 s to read and nothing here needs
    start = "import sys; sys.modules['rfc3987_syntax'] = None; from jupyter_book.cli.main import main; main()"
    command = [sys.executable, "-c", start, "build", ".", "--path-output", str(work), "-n", "-W", "--keep-going"]
    done = subprocess.run(
        command, cwd=root(), env={**os.environ, PROFILE_VARIABLE: profile, "NO_COLOR": "1", "MPLBACKEND": "agg"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8", errors="replace",
    )  # fmt: skip
    pages = work / "_build" / "html"
    if done.returncode or not (pages / "index.html").exists():
        log = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout).replace(f"{root()}{os.sep}", "")
        told = [line for line in log.splitlines() if re.search(r"WARNING|ERROR|Error|error:", line)]
        print("\n".join(told or log.splitlines()[-40:]), file=sys.stderr)
        raise RunError("Jupyter Book could not render the book; its warnings, which count as errors, stand above.")
    return pages


def _put_in_place(pages: Path, out: Path) -> None:
    """Move finished pages to `out`; a reader sees the old ones or the new ones, never half of them."""
    out.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        shutil.move(pages, fresh / "new")
        if out.exists():
            out.rename(fresh / "old")
        (fresh / "new").rename(out)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
