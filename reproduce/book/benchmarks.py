"""The page of benchmarks: ratios from `results/benchmarks.json`, drawn and in a table."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

#: How a benchmark's note says what was wanted of its ratio.
_AIM = re.compile(r"\b[Aa]t (?P<side>most|least) (?P<ratio>[\d.]+) was wanted")

#: What is told of where a pair was measured; the file holds more.
TOLD = ("python", "torch", "platform", "machine", "commit")


def read(path: Path, picture: Callable[[str, bytes], str]) -> dict:
    """Return what the page's template needs of a file of benchmarks.

    Args:
        path: the file; it need not exist.
        picture: takes a file name and a PNG, and gives the path by which Markdown finds it.
    """
    if not path.exists():
        return {"stored": False}
    stored = json.loads(path.read_text(encoding="utf-8"))
    pairs = stored["benchmarks"]
    return {
        "stored": True,
        "pairs": [{**p, **_aim(p), **{key: _quantity(p[key]) for key in ("ours", "baseline")}} for p in pairs],
        "missed": [p["name"] for p in pairs if _aim(p)["met"] is False],
        "machines": _machines(pairs),
        "picture": picture("benchmarks.png", draw(pairs)) if pairs else "",
    }


def _machines(pairs: list[dict]) -> list[dict]:
    """Where and when the pairs were measured: each machine of a day once, with the names of its benchmarks."""
    found: dict[str, dict] = {}
    for pair in pairs:
        told = {key: value for key, value in pair["environment"].items() if key in TOLD}
        at = {"date": pair["date"], "environment": told}
        found.setdefault(json.dumps(at, sort_keys=True), {**at, "names": []})["names"].append(pair["name"])
    return list(found.values())


def _aim(pair: dict) -> dict:
    """What was wanted of a ratio, in words, and whether it is met; None where nothing was."""
    if not (found := _AIM.search(pair.get("note", ""))):
        return {"aim": "", "met": None}
    wanted = float(found["ratio"])
    met = pair["ratio"] <= wanted if found["side"] == "most" else pair["ratio"] >= wanted
    return {"aim": f"at {found['side']} {found['ratio']}", "met": met}


def _quantity(value: float) -> str:
    return f"{value:,.4g}" if value < 1000 else f"{value:,.0f}"


def draw(pairs: list[dict]) -> bytes:
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
        if found := _AIM.search(p.get("note", "")):
            ax.plot([float(found["ratio"])], [i], "|", color="black", markersize=15, markeredgewidth=2)
        ax.annotate(f"{p['ratio']:.3g}×", (max(p["ratio"], 1), i), (5, 0), textcoords="offset points", va="center")
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    ax.set_xlabel("ratio, ours over baseline (1 = equal)")
    return plots.png(fig)
