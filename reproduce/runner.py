"""Execute notebooks with papermill: checked parameters, one run at a time, nothing lost, errors in one screen."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from cifar_utils.errors import ParameterError, RunError
from cifar_utils.paths import chapter_name, notebook_path, root

from . import freshness, kernels, params, versions
from .cells import note_cells
from .record import record_of, whole_seconds, write_json

# jsonschema would read a grammar of internationalised addresses for 3 s; notebooks have none to check
sys.modules.setdefault("rfc3987_syntax", None)  # pyright: ignore[reportArgumentType]: None means not there

_BAR = re.compile(r"\d+%\|.*\|")
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


def run_dir(profile: str, own: dict | None = None) -> Path:
    """Return the folder for runs at `profile`: `runs/PROFILE`, or `runs/PROFILE+NAME=VALUE` where parameters differ.

    A run with parameters of its own is another run: it neither replaces the profile's nor passes for it.
    """
    if not own:
        return root() / "runs" / profile
    text = ",".join(f"{key}={json.dumps(value)}" for key, value in own.items())
    plain = re.sub(r"[^\w.,=+-]", "", text)[:80]
    if plain != text:
        plain += "~" + hashlib.sha256(text.encode()).hexdigest()[:6]
    return root() / "runs" / f"{profile}+{plain}"


def run(
    name: str,
    profile: str = "smoke",
    overrides: dict | None = None,
    threads: int | None = None,
    wait: bool = False,
    again: bool = False,
) -> Path:
    """Execute one notebook and write `runs/PROFILE/NAME.ipynb` and `.json`, unless a finished run is there.

    A run that was killed continues from the last epoch that its trainings saved. What an earlier run
    left stays until this one is finished.

    Args:
        name: notebook, by name or path.
        profile: `smoke`, `quick` or `full`.
        overrides: parameters on top of the profile's; where they differ from it, the folder is `run_dir`'s own.
        threads: CPU threads of the kernel, on which the last digits depend; the environment's by default.
        wait: wait for another run of the same notebook instead of refusing.
        again: run also what is finished.

    Returns:
        The executed notebook.

    Raises:
        ParameterError: unknown notebook, profile or parameter, or a wrong type.
        RunError: a cell failed, the kernel died or did not start, or another run of the same notebook is under way.
    """
    name, overrides = chapter_name(name), overrides or {}
    if "profile" in overrides:
        raise ParameterError("The parameter profile is set by --profile, not by -p.")
    # `profile` itself is a parameter, so that the page can say what it was run at
    values = params.for_profile(name, profile, {**overrides, "profile": profile})
    if (device := values.get("device", "auto")) not in ("auto", "cpu"):
        from cifar_utils.device import pick_device  # here: it needs PyTorch

        pick_device(device)  # refuses one that this machine lacks before a kernel is started
    usual = versions.parameters(name, profile)
    folder = run_dir(profile, {key: values[key] for key in overrides if values[key] != usual[key]})
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{name}.ipynb"
    with _alone(folder, name, wait):
        record = None if again else finished(folder, name, usual | values)
        if record:
            _refresh(target, record)
            print(f"{name}: up to date (--again runs it once more)", flush=True)
            return target
        print(f"{name}: running at profile {profile}{_expected(name, profile)}", flush=True)
        if profile != "smoke":
            from .queue import before_running  # here: it needs PyTorch

            if missing := before_running(name, profile, values):
                print(f"{name}: {missing}", flush=True)
            if values.get("device") == "auto" and (unused := kernels.unused_gpu()):
                print(f"{name}: {unused}", file=sys.stderr, flush=True)
        _execute(name, values, folder, threads)
    return target


@contextmanager
def _alone(folder: Path, name: str, wait: bool) -> Iterator[None]:
    """Keep other runs of the same notebook out of a folder."""
    where = folder.relative_to(root())
    lock = FileLock(folder / f"{name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if not wait:
            raise RunError(f"Another run of {name} is under way in {where}; wait for it or stop it.") from None
        print(f"{name}: waiting for another run of it in {where}", flush=True)
        lock.acquire(timeout=1e9)  # endless is refused for a lock of this very process
    except NotImplementedError:  # some clusters' file systems know no locks; Snakemake has its own
        print(f"{name}: {where} cannot be locked, so see to it that nothing else runs {name} there", flush=True)
    try:
        yield
    finally:
        lock.release()


def _expected(name: str, profile: str) -> str:
    """Return in words how long the published run took, so that a long silence is no surprise; empty where unknown."""
    with suppress(OSError, ValueError, KeyError):
        record = json.loads((root() / "results" / f"{name}.json").read_text(encoding="utf-8"))
        if record["profile"] == profile:
            return f" (the published run took {whole_seconds(record) / 60:.1f} min)"
    return ""


def _execute(name: str, values: dict, folder: Path, threads: int | None) -> None:
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    draft, failed, log = (folder / f"{name}.{end}" for end in ("partial.ipynb", "failed.ipynb", "kernel.log"))
    failed.unlink(missing_ok=True)
    try:
        papermill.execute_notebook(
            str(Path("notebooks") / f"{name}.ipynb") if Path.cwd() == root() else str(notebook_path(name)),
            str(draft),
            parameters=values,
            cwd=str(root()),
            kernel_name="python3",  # for papermill to know the language; the kernel is the manager's
            kernel_manager_class=kernels.manager(log, threads),
            engine_name=kernels.engine(),
            shutdown_kernel="immediate",  # its results are here, and it has nothing to tidy up
            start_timeout=180,
            iopub_timeout=3600,  # outputs may come late on a machine with much else to do; 4 s pass for a dead kernel
            progress_bar=False,
            extra_arguments=["--log-level=ERROR"],  # ipykernel warns of its own default transport
        )
    except papermill.PapermillExecutionError as error:
        os.replace(draft, failed)
        raise RunError(_one_screen(name, error, failed)) from None
    except (DeadKernelError, CellTimeoutError):
        raise RunError(
            f"{name}: the kernel died (killed, or out of memory{_last_words(log)}). Run it again: its trainings "
            "continue from the last epoch that they saved."
        ) from None
    except RuntimeError as error:
        raise RunError(
            f"{name}: the kernel did not start ({error}{_last_words(log)}). If that stays so, install the "
            "requirements anew: pip install -r requirements.txt"
        ) from None
    finally:
        log.unlink(missing_ok=True)
    _seal(draft, folder / f"{name}.ipynb")


def _last_words(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n") if log.exists() else []
    return "".join(f"; it said: {line.strip()[:200]}" for line in [line for line in lines if line.strip()][-1:])


def _seal(draft: Path, target: Path) -> None:
    """Put an executed notebook, without this machine's traces, and its record in the place of an older run."""
    record, notebook = record_of(draft), json.loads(draft.read_text(encoding="utf-8"))
    note_cells(notebook, record)
    meta = notebook["metadata"].get("papermill", {})
    meta["input_path"] = f"notebooks/{target.name}"
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
    write_json(target, notebook, sort_keys=False)
    write_json(target.with_suffix(".json"), record)
    draft.unlink()


def _is_progress(text: str) -> bool:
    """Whether a text holds nothing but progress bars."""
    return all(_BAR.search(line) for line in re.split(r"[\r\n]+", text) if line.strip())


def store_outputs(name: str) -> int:
    """Run `name` at its defaults and store the outputs of its `nbval-check-output` cells in the source.

    What the run cost, and its parameters, are stored in the notebook's metadata under `smoke`. Cells that
    a program such as Colab left without an id are given one.

    Returns:
        How many cells were stored; all other cells are stored without output.
    """
    import nbformat

    executed = run(name)
    ran = iter(versions.code_cells(json.loads(executed.read_text(encoding="utf-8"))))
    path, stored = notebook_path(name), 0
    notebook = json.loads(path.read_text(encoding="utf-8"))
    if (notebook["nbformat"], notebook["nbformat_minor"]) < (4, 5):
        notebook = nbformat.v4.upgrade(nbformat.from_dict(notebook))
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        outputs, checked = next(ran)["outputs"], "nbval-check-output" in cell["metadata"].get("tags", [])
        # nbval takes a cell with outputs but without a count for one that was never run
        cell["outputs"], cell["execution_count"] = (outputs, 1) if checked else ([], None)
        stored += checked
        if checked and any(o.get("name") == "stderr" for o in cell["outputs"]):
            raise RunError(
                f"{name}: a cell tagged nbval-check-output writes to stderr, which is never the same twice."
            )
    record = record_of(executed)
    notebook["metadata"]["smoke"] = {key: record[key] for key in ("operations", "parameters")}
    write_json(path, notebook, sort_keys=False)
    return stored


def _one_screen(name: str, error, failed: Path) -> str:
    source = [line for line in error.source.splitlines() if line.strip()][:8]
    # IPython cannot format every traceback (not one that runs through a template) and then prints it plainly
    trace = _ANSI.sub("", "\n".join(error.traceback) or _printed(failed)).splitlines()[-12:]
    return "\n".join(
        [f"{name}: cell {error.exec_count} raised {error.ename}: {str(error.evalue)[:800]}", "", "The cell begins:"]
        + [f"    {line[:110]}" for line in source]
        + ["", "The traceback ends:"]
        + [f"    {line[:110]}" for line in trace]
        + ["", f"The notebook as far as it came: {failed.relative_to(root())}"]
    )


def _printed(failed: Path) -> str:
    """Return what the cell that failed had written to stderr."""
    cells = versions.code_cells(json.loads(failed.read_text(encoding="utf-8")))
    outputs = [o for c in cells if c["metadata"].get("papermill", {}).get("exception") for o in c["outputs"]]
    text = "".join("".join(o["text"]) for o in outputs if o.get("name") == "stderr")
    return text.rpartition("\nDuring handling of the above")[0] or text  # the rest is how formatting failed


def taken_over(name: str, profile: str) -> bool:
    """Whether `runs/PROFILE` holds a finished run that is current; it has the notebook's present text then."""
    record = finished(run_dir(profile), name, versions.parameters(name, profile))
    if record is not None:
        _refresh(run_dir(profile) / f"{name}.ipynb", record)
    return record is not None


def finished(folder: Path, name: str, wanted: dict) -> dict | None:
    """Return the record of a finished run that is current, with the parameters `wanted`."""
    try:
        record = record_of(folder / f"{name}.ipynb")
    except (OSError, ValueError, KeyError, RunError):
        return None
    return None if freshness.why_stale(record, wanted) else record


def _refresh(path: Path, record: dict) -> None:
    """Take present text over into a finished run, and write its record anew where a kill came between the two."""
    executed = json.loads(path.read_text(encoding="utf-8"))
    now = versions.with_present_text(executed, record["notebook"])
    if versions.text_of(now) != versions.text_of(executed):
        write_json(path, now, sort_keys=False)
    beside = path.with_suffix(".json")
    if not beside.exists() or json.loads(beside.read_text(encoding="utf-8")) != record:
        write_json(beside, record)
