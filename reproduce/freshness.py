"""Whether a result is what the project would give now: one answer for runner, Snakemake, publisher, book and tests.

A changed sentence, comment or layout changes nothing, and a changed claim is judged anew from what was measured.
Changed code of a cell, of what its imports use, or of a training, changed parameters, a changed number of the report
that the experiment itself used, and a claim that was not measured make a result stale.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from pathlib import Path

from cifar_utils.errors import ParameterError
from cifar_utils.paths import root

from . import versions
from .ledger import load_claims
from .record import code_fingerprint


def why_stale(record: dict, parameters: dict | None = None, executed: dict | None = None) -> str:
    """Return in words why a run's record is not what the project would give now; empty where it is.

    Args:
        record: of a run, in `runs` or published.
        parameters: what its parameters should be; its profile's present ones by default.
        executed: its notebook, which tells the words which cell was changed.
    """
    name = record["notebook"]
    if changed := versions.parameter_changes(record, parameters):
        return changed
    if record["code"] != code_fingerprint(name):
        if executed is None:
            return "code of its cells, or code of cifar_utils that they use, was changed"
        return versions.code_changes(executed, name) or "code of cifar_utils that it uses was changed"
    ledger = load_claims()
    for claim, value in record.get("printed", {}).items():
        if claim not in ledger or ledger[claim].said != value:
            return f"it used the report's numbers for {claim}, {value}, which are others in the ledger now"
    asked = {claim.id for claim in ledger.values() if claim.notebook == name}
    if missing := sorted(asked - set(record["measurements"])):
        return f"it did not measure {missing[0]}" + (f" and {len(missing) - 1} more" if missing[1:] else "")
    for key in record.get("trainings", {}):
        if not (found := places(key)):
            return f"its training {key} is neither in runs/trainings nor in results/trainings"
        if not any(_is_current(path, path.stat().st_mtime_ns) for path in found):
            return f"the code of its training {key} was changed"
    return ""


def places(key: str) -> list[Path]:
    """Return where the record of a training lies: that of this machine, and the committed one."""
    paths = (root() / "runs" / "trainings" / key / "record.json", root() / "results" / "trainings" / f"{key}.json")
    return [path for path in paths if path.exists()]


@cache
def _is_current(path: Path, changed: int) -> bool:
    """Whether a training's record was made by today's code, or by code that was compared with it."""
    from cifar_utils.train.records import is_current, read_record  # here: only runs with trainings need PyTorch

    if (record := read_record(path)) is None:
        return False
    with suppress(ParameterError):
        return is_current(record)
    from .trainings import know_own_parts

    know_own_parts()  # it has a part that its chapter wrote itself
    with suppress(ParameterError):
        return is_current(record)
    return False
