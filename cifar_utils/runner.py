"""Execute notebooks with papermill: checked parameters, one run at a time, nothing lost, errors in one screen."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import yaml
from filelock import FileLock, Timeout

from . import params, versions
from .errors import ParameterError, RunError
from .paths import root
from .record import code_fingerprint, record_of, write_json

#: Without these, glibc gives every large tensor back to the system and asks for it again at each step:
#: small convolutional networks then train at two thirds of their speed, and stacks of networks, whose
#: gradients are beyond the largest threshold that glibc takes, at half of it. They change no number.
KEEP_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
    "MALLOC_MMAP_MAX_": "0",
}

_BAR = re.compile(r"\d+%\|.*\|")
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


def run_dir(profile: str) -> Path:
    """Return the folder for runs at `profile`: `runs/PROFILE`."""
    return root() / "runs" / profile


def needs() -> dict[str, list[str]]:
    """Return which notebooks must have run before a notebook (`notebooks/needs.yml`).

    Raises:
        ParameterError: the file names a notebook that does not exist.
    """
    path = root() / "notebooks" / "needs.yml"
    table = (yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else None) or {}
    for name, others in table.items():
        for each in (name, *others):
            params.notebook_path(each)
    return table


def notebooks() -> list[str]:
    """Return the names of all notebooks, each behind those it needs, otherwise in alphabetical order.

    Raises:
        ParameterError: notebooks need each other in a circle.
    """
    required, ordered = needs(), []

    def place(name: str, above: tuple[str, ...]) -> None:
        if name in above:
            raise ParameterError(f"notebooks/needs.yml: {' needs '.join((*above, name))}, which is a circle.")
        for other in required.get(name, []):
            place(other, (*above, name))
        if name not in ordered:
            ordered.append(name)

    for path in sorted((root() / "notebooks").glob("*.ipynb")):
        place(path.stem, ())
    return ordered


def run(name: str, profile: str = "smoke", overrides: dict | None = None) -> Path:
    """Execute one notebook and write `runs/PROFILE/NAME.ipynb` and `.json`.

    A run that was killed continues from the last epoch that its trainings saved.

    Args:
        name: notebook.
        profile: `smoke`, `quick` or `full`.
        overrides: parameters on top of the profile's.

    Returns:
        The executed notebook.

    Raises:
        ParameterError: unknown notebook, profile or parameter, or a wrong type.
        RunError: a cell failed, the kernel died, or another run of the same notebook is under way.
    """
    # `profile` itself is a parameter, so that the page can say what it was run at
    values = params.for_profile(name, profile, {"profile": profile, **(overrides or {})})
    folder = run_dir(profile)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / f"{name}.lock", timeout=0):
            return _execute(name, values, folder)
    except Timeout:
        raise RunError(
            f"Another run of {name} at profile {profile} is under way in runs/{profile}; wait for it or stop it."
        ) from None


def _execute(name: str, values: dict, folder: Path) -> Path:
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    for old in (f"{name}.ipynb", f"{name}.json", f"{name}.failed.ipynb"):
        (folder / old).unlink(missing_ok=True)  # what is there afterwards is of this run
    draft = folder / f"{name}.partial.ipynb"
    os.environ["CIFAR_UTILS_RUN_DIR"] = str(folder)
    for name_of, value in KEEP_MEMORY.items():
        os.environ.setdefault(name_of, value)
    try:
        papermill.execute_notebook(
            str(Path("notebooks") / f"{name}.ipynb") if Path.cwd() == root() else str(params.notebook_path(name)),
            str(draft),
            parameters=values,
            cwd=str(root()),
            kernel_name="python3",
            progress_bar=False,
            extra_arguments=["--log-level=ERROR"],  # ipykernel warns of its own default transport
        )
    except papermill.PapermillExecutionError as error:
        os.replace(draft, folder / f"{name}.failed.ipynb")
        raise RunError(_one_screen(name, error)) from None
    except (DeadKernelError, CellTimeoutError):
        raise RunError(
            f"{name}: the kernel died (killed, or out of memory). Run it again: its trainings continue from "
            "the last epoch that they saved."
        ) from None
    finally:
        os.environ.pop("CIFAR_UTILS_RUN_DIR")
    record = _seal(draft)
    target = folder / f"{name}.ipynb"
    os.replace(draft, target)
    write_json(folder / f"{name}.json", record)
    shutil.rmtree(folder / "checkpoints" / name, ignore_errors=True)
    return target


def _seal(path: Path) -> dict:
    """Take this machine's traces out of an executed notebook; return the record that it carries."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    meta = notebook["metadata"].get("papermill", {})
    meta["input_path"] = f"notebooks/{path.name.removesuffix('.partial.ipynb')}.ipynb"
    meta["output_path"] = None
    meta.pop("environment_variables", None)
    for cell in notebook["cells"]:
        outputs = cell.get("outputs", [])
        # progress bars: of use while it ran, noise afterwards
        cell_outputs = [o for o in outputs if not (o.get("name") == "stderr" and _is_progress("".join(o["text"])))]
        if cell["cell_type"] == "code":
            cell["outputs"] = cell_outputs
        tags = cell["metadata"].get("tags", [])
        if "injected-parameters" in tags and "hide-input" not in tags:
            tags.append("hide-input")  # the header card comes first for a reader
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return record_of(path)


def _is_progress(text: str) -> bool:
    """Whether a text holds nothing but progress bars."""
    return all(_BAR.search(line) for line in re.split(r"[\r\n]+", text) if line.strip())


def store_outputs(name: str) -> int:
    """Run `name` at its defaults and store the outputs of its `nbval-check-output` cells in the source.

    Returns:
        How many cells were stored; all other cells are stored without output.
    """
    executed = json.loads(run(name).read_text(encoding="utf-8"))
    outputs = {cell["id"]: cell["outputs"] for cell in executed["cells"] if "outputs" in cell}
    path, stored = params.notebook_path(name), 0
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        checked = "nbval-check-output" in cell["metadata"].get("tags", [])
        # nbval takes a cell with outputs but without a count for one that was never run
        cell["outputs"], cell["execution_count"] = (outputs[cell["id"]], 1) if checked else ([], None)
        stored += checked
        if checked and any(o.get("name") == "stderr" for o in cell["outputs"]):
            raise RunError(
                f"{name}: a cell tagged nbval-check-output writes to stderr, which is never the same twice."
            )
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return stored


def _one_screen(name: str, error) -> str:
    source = [line for line in error.source.splitlines() if line.strip()][:8]
    trace = _ANSI.sub("", "\n".join(error.traceback)).splitlines()[-12:]
    return "\n".join(
        [f"{name}: cell {error.exec_count} raised {error.ename}: {str(error.evalue)[:800]}", "", "The cell begins:"]
        + [f"    {line[:110]}" for line in source]
        + ["", "The traceback ends:"]
        + [f"    {line[:110]}" for line in trace]
        + ["", f"The notebook as far as it came: runs/.../{name}.failed.ipynb"]
    )


def is_fresh(name: str, profile: str) -> bool:
    """Whether `runs/PROFILE` holds a finished run of the present code, notebook and parameters."""
    path = run_dir(profile) / f"{name}.json"
    if not (path.exists() and path.with_suffix(".ipynb").exists()):
        return False
    record = json.loads(path.read_text(encoding="utf-8"))
    return record["parameters"] == versions.parameters(name, profile) and record["code"] == code_fingerprint(name)


def run_all(profile: str, time_budget: float | None = None) -> list[str]:
    """Run every notebook that is not fresh, in order; return the names left over when the time is up.

    Each runs in its own process. One that is still going when the budget ends is interrupted, and
    continues from its last saved epoch at the next call. One that fails does not keep the others
    from running, except those that need it.

    Raises:
        RunError: at least one notebook failed; named, after all others have run.
    """
    deadline = time.monotonic() + time_budget if time_budget else None
    required, failed, left = needs(), [], []
    for name in notebooks():
        if is_fresh(name, profile):
            print(f"{name}: up to date", flush=True)
            continue
        if blocked := [n for n in required.get(name, []) if n in failed or n in left]:
            print(f"{name}: not run, because {', '.join(blocked)} did not finish", flush=True)
            (left if set(blocked) <= set(left) else failed).append(name)
            continue
        remaining = None if deadline is None else deadline - time.monotonic()
        if remaining is not None and remaining <= 0:
            left.append(name)
            continue
        print(f"{name}: running at profile {profile}", flush=True)
        outcome = _in_own_process(name, profile, remaining)
        if outcome == "time is up":
            left.append(name)
        elif outcome != "done":
            failed.append(name)
    if failed:
        raise RunError(f"Failed: {', '.join(failed)}." + (f" Not run yet: {', '.join(left)}." if left else ""))
    return left


def _in_own_process(name: str, profile: str, seconds: float | None) -> str:
    command = [sys.executable, "-m", "cifar_utils", "run", name, "--profile", profile]
    child = subprocess.Popen(command, cwd=root(), start_new_session=True)
    try:
        return "done" if child.wait(seconds) == 0 else "failed"
    except subprocess.TimeoutExpired:
        return "time is up"
    finally:
        if child.poll() is None:  # also when this process itself is interrupted
            child.send_signal(signal.SIGINT)
            try:
                child.wait(15)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
