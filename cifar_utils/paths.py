"""Where things lie in the project, and what its notebooks are called: one place, from whatever folder it is asked."""

from __future__ import annotations

import difflib
import os
from functools import lru_cache
from pathlib import Path

import yaml

from .errors import ParameterError


def root() -> Path:
    """Return the project's root, the folder that holds `notebooks`, `params` and `claims`.

    It is the folder above the package, or `$CIFAR_UTILS_ROOT` (a project of your own, or a test's).
    """
    return Path(os.environ.get("CIFAR_UTILS_ROOT") or Path(__file__).resolve().parent.parent)


def chapters() -> list[str]:
    """Return the names of the project's notebooks, in alphabetical order.

    These are the chapters that `_toc.yml` lists, and that are there; in a project without that file,
    all of `notebooks/`.
    """
    there = sorted(p.stem for p in (root() / "notebooks").glob("*.ipynb"))
    contents = root() / "_toc.yml"
    if not contents.exists():
        return there
    listed = _listed(contents.read_text(encoding="utf-8"))
    return [name for name in there if name in listed]


@lru_cache(maxsize=1)  # asked for at every turn, and slow to parse
def _listed(toc: str) -> set[str]:
    return {Path(file).name for file in toc_files(yaml.safe_load(toc)) if Path(file).parent.name == "chapters"}


def toc_files(toc: object) -> list[str]:
    """Return every file that a table of contents names, in order."""
    if isinstance(toc, list):
        return [file for entry in toc for file in toc_files(entry)]
    if not isinstance(toc, dict):
        return []
    own = [toc[key] for key in ("root", "file") if key in toc]
    return own + [file for key in ("parts", "chapters", "sections") for file in toc_files(toc.get(key, []))]


def chapter_name(given: str) -> str:
    """Return the name of the notebook that `given` means: a name, or the path of one of the project's notebooks.

    Raises:
        ParameterError: it is neither; close names are suggested, then all.
    """
    names, path = chapters(), Path(given)
    if given in names:
        return given
    folder = (root() / "notebooks").resolve()
    a_path = path.suffix == ".ipynb" and folder in (path.resolve().parent, (root() / path.parent).resolve())
    name = path.stem if a_path else given
    if name in names:
        return name
    if name == Path(name).name and (folder / f"{name}.ipynb").exists():
        raise ParameterError(f"notebooks/{name}.ipynb is no chapter yet; add chapters/{name} to _toc.yml.")
    close = difflib.get_close_matches(path.stem, names, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise ParameterError(f"There is no notebook {given!r}.{hint} Expected one of {', '.join(names) or 'none yet'}.")


def notebook_path(given: str) -> Path:
    """Return the path of the source notebook that `given`, a name or a path, means.

    Raises:
        ParameterError: it is none of the project's notebooks.
    """
    return root() / "notebooks" / f"{chapter_name(given)}.ipynb"
