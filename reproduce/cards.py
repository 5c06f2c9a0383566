"""Small pieces of HTML that chapters and the scoreboard share: header card, verdict badge, table."""

from __future__ import annotations

from html import escape

from .ledger import Claim, load_reports, show_reported
from .verdict import Verdict


class Html:
    """HTML with a plain text beside it, for whatever shows the notebook."""

    def __init__(self, html: str, text: str = ""):
        self.html, self.text = html, text

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return self.text


def badge(verdict: str) -> str:
    """Return the verdict with its sign as HTML."""
    verdict = Verdict(verdict)  # a record holds it as text
    return f'<span class="cu-badge {verdict.style}">{verdict.sign}&nbsp;{verdict}</span>'


def header(record: dict, question: str, finished: bool = False) -> str:
    """Return the card at the top of a chapter: report, question, profile, device, seeds, time, data."""
    report = load_reports()[record["report"]]
    data = "; ".join(_data_line(d) for d in record["data"].values()) or "—"
    took = _duration(record["duration_s"]) if finished else "running …"
    seeds = record["parameters"].get("seeds", 1)
    env = record["environment"]
    rows = {
        "Report": f"{report.title} <br><small>{escape(report.course)}</small>",
        "Question": escape(question),
        "Profile": f"<b>{escape(record['profile'])}</b>" + _profile_note(record),
        "Data": escape(data),
        "Seeds": "1 (one run of a kind has no interval)" if seeds == 1 else str(seeds),
        "Device": escape(env["device"]),
        **_number_format(record),
        "Software": escape(f"torch {env['torch']}, Python {env['python']}, code {env['commit']}"),
        "Run": escape(f"{record['started']}, {took}"),
    }
    body = "".join(f"<dt>{k}</dt><dd>{v}</dd>" for k, v in rows.items())
    return f'<dl class="cu-card">{body}</dl>'


def _number_format(record: dict) -> dict[str, str]:
    """Return the card's row on the number format, for chapters that can choose it."""
    if "precision" not in record["parameters"]:
        return {}
    used, native = record["precision"], record["environment"]["native_bfloat16"]
    why = ""
    if record["parameters"]["precision"] == "auto":
        why = "" if used == "bfloat16" else ", as this device does not compute bfloat16 natively"
    elif used == "bfloat16" and not native:
        why = ", as asked for, although this device only emulates it, far more slowly than float32"
    return {"Number format": used + why}


def _profile_note(record: dict) -> str:
    if record["sample"]:
        return f" {badge(Verdict.SAMPLE_DATA)} nothing on this page says anything about the report"
    return {
        "quick": " (real data, two CPU cores; experiments that are smaller than the report's are marked)",
        "full": " (real data, one GPU)",
    }.get(record["profile"], "")


def _data_line(provenance: dict) -> str:
    sizes = ", ".join(f"{n:,} {part}" for part, n in provenance.get("sizes", {}).items())
    return f"{provenance['name']}, {provenance['source']}" + (f" ({sizes})" if sizes else "")


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"


def ledger_table(rows: list[tuple[Claim, dict]]) -> str:
    """Return the table reported | reproduced | verdict for claims and their measurements."""
    lines = []
    for claim, found in rows:
        method = f"<br><small>{escape(found['method'])}</small>" if found["method"] else ""
        note = f"<br><small>{escape(found['note'])}</small>" if found["note"] else ""
        lines.append(
            f"<tr><td><b>{escape(claim.says)}</b><br><small>{escape(claim.where)} · "
            f"<code>{claim.id}</code></small>{note}</td>"
            f"<td>{escape(show_reported(claim))}</td>"
            f"<td>{escape(found['text'])}{method}</td>"
            f"<td>{badge(found['verdict'])}</td></tr>"
        )
    head = "<tr><th>The report says</th><th>Reported</th><th>Reproduced</th><th>Verdict</th></tr>"
    body = f"<thead>{head}</thead><tbody>{''.join(lines)}</tbody>"
    return f'<div class="cu-scroll"><table class="cu-ledger">{body}</table></div>'
