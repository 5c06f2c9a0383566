"""Which cell of an executed notebook measured a claim, so that the claim's row can link to its code."""

from __future__ import annotations

from .record import RECORD_MIME


def note_cells(notebook: dict, record: dict) -> None:
    """Write the id of the cell that measured each claim into a record, and put that into its notebook."""
    where: dict[str, str | None] = {}
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            if glued := output.get("metadata", {}).get("scrapbook"):
                where[glued["name"]] = cell.get("id")  # what is glued again counts last
            if RECORD_MIME in output.get("data", {}):
                output["data"][RECORD_MIME] = record
    for claim, found in record["measurements"].items():
        found["cell"] = where.get(claim)
