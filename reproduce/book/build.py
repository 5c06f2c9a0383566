"""Render the book: stage its sources, write what is computed into them, run Jupyter Book, put the pages in place."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import yaml

from cifar_utils.errors import RunError
from cifar_utils.paths import root, toc_files

from .. import versions
from ..ledger import REPORTS, load_reports
from ..params import PROFILES
from ..record import RECORD_MIME, code_fingerprint
from . import scoreboard
from .scoreboard import readme_table, update_readme

__all__ = ["build", "build_profile", "build_published", "readme_table", "root", "update_readme"]

_MARK = re.compile(r"<!-- generated: ([a-z-]+)(?: ([a-z0-9]+))? -->")

#: What a profile ran on, in a few words.
EFFORT = {"smoke": "sample data", "quick": "real data, two CPU cores", "full": "real data, one GPU"}

#: What a build with a label writes above every page.
BANNER = "Your own run at profile {label}{sample}. The published book is another one: make book."


def build_published() -> Path:
    """Render the committed chapters into `_build/html`; return its `index.html`."""
    return build(root() / "book" / "chapters", root() / "results", root() / "_build" / "html")


def build_profile(profile: str) -> Path:
    """Render the runs of a profile into `_build/PROFILE`; return its `index.html`.

    Raises:
        RunError: there is no finished run at this profile, or Jupyter Book fails.
    """
    if profile not in PROFILES:
        raise RunError(f"There is no profile {profile!r}; expected one of {', '.join(PROFILES)}.")
    runs = root() / "runs" / profile
    if not scoreboard.read_records(runs):
        raise RunError(f"There is no finished run at profile {profile} to make a book of; first: "
                       f"make reproduce PROFILE={profile}")  # fmt: skip
    return build(runs, runs, root() / "_build" / profile, label=profile)


def build(chapters: Path, results: Path, out: Path, label: str = "") -> Path:
    """Render a book of some executed chapters; return its `index.html`.

    Args:
        chapters: folder of executed notebooks; only those with a record in `results` are taken.
        results: folder of their records, and of `benchmarks.json` where there is one.
        out: where the pages go; whatever is there is replaced once the new pages are complete.
        label: the profile, for a banner on every page; none by default.

    Raises:
        RunError: Jupyter Book is not installed or fails, or a chapter is not in `_toc.yml`.
    """
    if find_spec("jupyter_book") is None:
        raise RunError("jupyter-book is not installed here; install it with: pip install -r requirements.txt")
    scratch = root() / "_build" / ".stage"
    scratch.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f"{out.name}-", dir=scratch))
    try:
        source = stage(chapters, results, work / "book", label)
        _put_in_place(_jupyter_book(source, work), out)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return out / "index.html"


def stage(chapters: Path, results: Path, source: Path, label: str = "") -> Path:
    """Copy the book's sources to `source` with these chapters and everything generated in place.

    `_config.yml` and `_toc.yml` end up in the same folder, the latter without absent chapters.

    Raises:
        RunError: a chapter is not in `_toc.yml`, or a page asks for something unknown.
    """
    shutil.copytree(root() / "book", source, ignore=shutil.ignore_patterns("chapters"))
    (source / "chapters").mkdir()
    records = {k: r for k, r in scoreboard.read_records(results).items() if (chapters / f"{k}.ipynb").exists()}
    toc = yaml.safe_load((root() / "_toc.yml").read_text(encoding="utf-8"))
    listed = {file.removeprefix("chapters/") for file in toc_files(toc)}
    if strangers := sorted(set(records) - listed):
        raise RunError(f"Chapter {strangers[0]} is not in _toc.yml; add chapters/{strangers[0]} where it belongs.")
    for name, record in records.items():
        _stage_chapter(chapters / f"{name}.ipynb", record, source / "chapters" / f"{name}.ipynb", bool(label))
    toc = prune(toc, lambda file: not file.startswith("chapters/") or file.removeprefix("chapters/") in records)
    (source / "_toc.yml").write_text(yaml.safe_dump(toc, sort_keys=False), encoding="utf-8")
    config = yaml.safe_load((root() / "_config.yml").read_text(encoding="utf-8"))
    (source / "_config.yml").write_text(
        yaml.safe_dump(_adapt(config, records, label), sort_keys=False), encoding="utf-8"
    )
    _Pages(source, records, results / "benchmarks.json").write()
    return source


def _stage_chapter(chapter: Path, record: dict, target: Path, own: bool) -> None:
    """Copy an executed notebook without the record that it carries, which no page shows.

    Where the notebook was changed since, the page says so below its title. The record learns it too,
    as `earlier_version`, for the pages that list this one. A run of one's own counts as of an earlier
    version also where only the package changed; a published page does not, which nobody would run again.
    """
    notebook = json.loads(chapter.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(RECORD_MIME, None)
    other_package = own and record["code"] != code_fingerprint(record["notebook"])
    record["earlier_version"] = other_package or not versions.is_present(notebook, record)
    if record["earlier_version"]:
        title, _, rest = "".join(notebook["cells"][0]["source"]).partition("\n")
        notebook["cells"][0]["source"] = f"{title}\n\n{versions.earlier_version_note(record)}\n\n{rest}"
    target.write_text(json.dumps(notebook, ensure_ascii=False, indent=1), encoding="utf-8")


def prune(toc: dict, keep: Callable[[str], bool]) -> dict:
    """Return a table of contents without the files that `keep` refuses."""
    toc = dict(toc)
    for key in ("parts", "chapters", "sections"):
        if key in toc:
            toc[key] = [prune(entry, keep) for entry in toc[key] if keep(entry.get("file", ""))]
            if not toc[key]:
                del toc[key]
    return toc


def _adapt(config: dict, records: dict[str, dict], label: str) -> dict:
    if repository := os.environ.get("GITHUB_REPOSITORY"):
        config["repository"]["url"] = f"https://github.com/{repository}"
    if label:
        sample = any(record["sample"] for record in records.values())
        text = ", on sample data: these numbers say nothing about the reports" if sample else ""
        config["html"]["announcement"] = BANNER.format(label=label, sample=text)
    return config


class _Pages:
    """Writes generated text where a page says `<!-- generated: NAME -->`."""

    def __init__(self, source: Path, records: dict[str, dict], benchmarks: Path):
        self.source, self.records, self.benchmarks = source, records, benchmarks
        self.rows = scoreboard.rows(records)
        self.plans: dict[str, list[dict]] = {}

    def write(self) -> None:
        pages = {path: path.read_text(encoding="utf-8") for path in sorted(self.source.rglob("*.md"))}
        for report in REPORTS:
            path = self.source / "reports" / f"{report}.md"
            self.plans[report], pages[path] = _split_plan(pages[path], path.name)
        planned = {entry.get("notebook") for plan in self.plans.values() for entry in plan}
        if strangers := sorted(set(self.records) - planned):
            report = strangers[0].split("_")[0]
            raise RunError(f"Chapter {strangers[0]} is on no report's page; add its part, about and notebook to the "
                           f"list at the top of book/reports/{report}.md.")  # fmt: skip
        for path, text in pages.items():
            up = "../" * len(path.relative_to(self.source).parts[:-1])
            path.write_text(_MARK.sub(lambda mark, up=up: self._text(mark, up), text), encoding="utf-8")

    def _text(self, mark: re.Match, up: str) -> str:
        name, about = mark.groups()
        make = getattr(self, f"_{name.replace('-', '_')}", None)
        if make is None:
            raise RunError(f"A page asks for generated text {name!r}; book.py writes no such text.")
        return make(up, about) if about else make(up)

    def _pages(self, up: str) -> dict[str, str]:
        return {name: f"{up}chapters/{name}.html" for name in self.records}

    def _tiles(self, up: str) -> str:
        return scoreboard.tiles(self.rows, f"{up}scoreboard.html")

    def _state(self, up: str) -> str:
        planned = sum(len(plan) for plan in self.plans.values())
        if not self.records:
            return f"No chapter is published yet; {planned} are planned."
        latest = max(record["started"] for record in self.records.values())[:10]
        by = {p: sum(record["profile"] == p for record in self.records.values()) for p in PROFILES}
        at = " and ".join(f"{n} at profile `{p}` ({EFFORT[p]})" for p, n in by.items() if n)
        return f"**Chapters: {len(self.records)} of {planned} planned**, {at}. Latest run: {latest}."

    def _highlights(self, up: str) -> str:
        chosen = scoreboard.most_telling(self.rows, 8)
        return scoreboard.html_table(chosen, self._pages(up)) if chosen else "Nothing is judged yet."

    def _scoreboard(self, up: str) -> str:
        if not self.rows:
            return "The ledger holds no claim yet."
        return f"{scoreboard.filters()}\n{scoreboard.html_table(self.rows, self._pages(up), search=True)}"

    def _verdicts(self, up: str) -> str:
        return scoreboard.verdict_list()

    def _report(self, up: str, report: str) -> str:
        rows = [row for row in self.rows if row.claim.report == report]
        if not rows:
            return "None of this report's claims are in the ledger yet."
        return f"{scoreboard.sentence(rows)}\n\n{scoreboard.tiles(rows, f'{up}scoreboard.html')}"

    def _title(self, up: str, report: str) -> str:
        found = load_reports().get(report)
        return f"*{found.title}*, in the course *{found.course}*." if found else ""

    def _chapters(self, up: str, report: str) -> str:
        lines = []
        for entry in self.plans[report]:
            name = entry.get("notebook")
            if name in self.records:
                run = f"profile `{self.records[name]['profile']}`"
                if self.records[name]["earlier_version"]:
                    run += ", an earlier version of the notebook"
                lines.append(f"- **{entry['part']}:** [{entry['about']}](../chapters/{name}.ipynb) ({run})")
            else:
                lines.append(f"- **{entry['part']}:** {entry['about']} *(planned)*")
        if not any(entry.get("notebook") in self.records for entry in self.plans[report]):
            lines = ["No chapter of this report is finished yet. These are planned:", "", *lines]
        return "\n".join(lines)

    def _benchmarks(self, up: str) -> str:
        if not self.benchmarks.exists():
            return "No benchmark has been run yet. `make bench` measures and writes `results/benchmarks.json`."
        stored = json.loads(self.benchmarks.read_text(encoding="utf-8"))
        pairs = next((v for v in stored.values() if isinstance(v, list)), []) if isinstance(stored, dict) else stored
        if not pairs:
            return "The last benchmark run left no result. `make bench` measures again."
        (self.source / "_static" / "benchmarks.png").write_bytes(draw_benchmarks(pairs))
        environment = stored.get("environment", {}) if isinstance(stored, dict) else {}
        return benchmark_text(pairs, environment, "/_static/benchmarks.png")


def _split_plan(text: str, file: str) -> tuple[list[dict], str]:
    """Return the list `chapters` of a report page's front matter, and the page without it."""
    match = re.match(r"---\n(.*?)\n---\n(.*)", text, re.DOTALL)
    plan = (yaml.safe_load(match[1]) or {}).get("chapters") if match else None
    if not plan:
        raise RunError(f"book/reports/{file} must begin with front matter that lists its chapters.")
    return plan, match[2]


def draw_benchmarks(pairs: list[dict]) -> bytes:
    """Return a PNG of benchmark ratios, one bar each on a logarithmic axis around 1."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    from cifar_utils.measure import plots

    plots.use_house_style()
    plots.stamp("")
    fig, ax = plt.subplots(figsize=(7.2, 1.1 + 0.5 * len(pairs)))
    at = range(len(pairs))
    ax.barh(at, [p["ratio"] - 1 for p in pairs], left=1, height=0.55, color=plots.COLOURS[0])
    ax.axvline(1, color="black", linewidth=1)
    ax.set_xscale("log")
    ax.set_yticks(at, [p["name"].replace("_", " ") for p in pairs])
    ax.set_xlim(min(0.5, *(p["ratio"] * 0.6 for p in pairs)), max(2, *(p["ratio"] * 2.2 for p in pairs)))
    for i, p in enumerate(pairs):
        ax.annotate(f"{p['ratio']:.3g}×", (max(p["ratio"], 1), i), (5, 0), textcoords="offset points", va="center")
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    ax.set_xlabel("ratio, ours over baseline (1 = equal)")
    return plots.png(fig)


def benchmark_text(pairs: list[dict], environment: dict, image: str) -> str:
    """Return figure, table and machine of the benchmarks as Markdown."""
    words = ", ".join(f"{p['name'].replace('_', ' ')} {p['ratio']:.3g}" for p in pairs)
    lines = [
        f"```{{figure}} {image}", ":name: fig-benchmarks",
        f":alt: Bar chart of benchmark ratios, ours over baseline. {words}.", "",
        "Each bar is the ratio of ours to the baseline, measured in turn in one run.", "```", "",
        "| Benchmark | Ours | Baseline | Ratio | What it measures |", "|---|---:|---:|---:|---|",
    ]  # fmt: skip
    for p in pairs:
        ours, base = (f"{p[k]:,.4g}" if p[k] < 1000 else f"{p[k]:,.0f}" for k in ("ours", "baseline"))
        note = scoreboard.cell(p.get("note", ""))
        lines.append(f"| {p['name']} | {ours} {p['unit']} | {base} {p['unit']} | {p['ratio']:.3g} | {note} |")
    if environment:
        lines += ["", "Measured on: " + ", ".join(f"{k} {v}" for k, v in environment.items()) + "."]
    return "\n".join(lines)


def _jupyter_book(source: Path, work: Path) -> Path:
    """Run Jupyter Book over staged sources; return the folder of its pages."""
    out = work / "out"
    # without jsonschema's grammar of internationalised addresses, which takes 3 s to read and nothing here needs
    start = "import sys; sys.modules['rfc3987_syntax'] = None; from jupyter_book.cli.main import main; main()"
    command = [
        sys.executable, "-c", start, "build", str(source),
        "--path-output", str(out), "--config", str(source / "_config.yml"), "--toc", str(source / "_toc.yml"),
        "-n", "-W", "--keep-going",
    ]  # fmt: skip
    path = os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        command, cwd=source, env={**os.environ, "PYTHONPATH": path, "NO_COLOR": "1", "MPLBACKEND": "agg"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8", errors="replace",
    )  # fmt: skip
    pages = out / "_build" / "html"
    if done.returncode or not (pages / "index.html").exists():
        log = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout).replace(str(source) + os.sep, "")
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
