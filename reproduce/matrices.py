"""Confusion matrices that open: every cell tells its count, and shows the images that it counts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from IPython.display import HTML, display

from cifar_utils.errors import ParameterError
from cifar_utils.measure import plots

from .cards import render
from .sheets import ROW, sheet

#: The most images that a cell shows, and what is tried where all cells' images together weigh too much.
MOST = (24, 18, 12, 9, 6, 4, 2, 1)

#: The most bytes of a matrix's images in a page that has no other images to touch.
WEIGHT = 230_000

#: Images are for recognising, and many: less than what maps have.
QUALITY = 40


@dataclass(frozen=True)
class Printed:
    """A confusion matrix that a report prints.

    Attributes:
        counts: rows true, columns predicted, whatever way it is printed.
        names: of its classes.
        note: where it stands, and what it is of.
    """

    counts: np.ndarray
    names: Sequence[str]
    note: str


def openable(
    true: Sequence[int] | torch.Tensor, predicted: Sequence[int] | torch.Tensor, names: Sequence[str],
    images: torch.Tensor, title: str, printed: Printed | None = None, weight: int = WEIGHT,
) -> None:  # fmt: skip
    """Show a button that opens a confusion matrix under a figure, each cell with the images that it counts.

    Without scripts, and on paper, nothing of it is seen: the figure above says the same.

    Args:
        true: (N,), classes, each from 0 to len(names) - 1.
        predicted: (N,), or (networks, N) of several: the matrix then counts all their answers.
        names: of the classes.
        images: (N, channels, height, width), uint8, on any device.
        title: whose answers these are, and on which images; what is stamped on figures now stands behind it.
        printed: the report's, shown beside it.
        weight: the most bytes that all images may take.

    Raises:
        ParameterError: the lengths differ, or a class has no name.
    """
    right, answers = torch.as_tensor(true).cpu().long(), torch.as_tensor(predicted).cpu().long()
    answers = answers.view(-1, answers.shape[-1])
    _check(right, answers, len(names), images)
    plots.stamp(label := plots.stamp(""))
    title += f" ({label})" if label else ""
    cells = _cells(right, answers)
    chosen, address = _as_weighs(cells, images, weight)
    place = {image: k for k, image in enumerate(dict.fromkeys(i for some in chosen.values() for i, _ in some))}
    told = {
        "names": list(names),
        "networks": len(answers),
        "counts": _counts(right, answers, len(names)).tolist(),
        # images of a cell: how many there are, and of those shown the place on the sheet and by how many networks
        "cells": {f"{i},{j}": [len(cells[i, j]), [[place[k], n] for k, n in some]]
                  for (i, j), some in chosen.items()},
        "size": list(images.shape[2:]),
        "row": ROW,
        "printed": _of_report(printed),
    }  # fmt: skip
    display(HTML(render("matrix.html.j2", title=title, sheet=address, told=json.dumps(told))))


def _check(true: torch.Tensor, predicted: torch.Tensor, classes: int, images: torch.Tensor) -> None:
    if not len(true) == predicted.shape[1] == len(images):
        raise ParameterError(
            f"{len(true)} true classes, {predicted.shape[1]} predicted ones and {len(images)} images do not belong "
            "together; give one of each for every image."
        )
    for wrong in (
        each for each in torch.cat([true, predicted.flatten()]).unique().tolist() if not 0 <= each < classes
    ):
        raise ParameterError(f"Class {wrong} has no name; give a name for each class from 0.")


def _counts(true: torch.Tensor, predicted: torch.Tensor, classes: int) -> torch.Tensor:
    """Return how often each class was answered for each, (classes, classes), rows true."""
    flat = (true * classes + predicted).flatten()
    return torch.bincount(flat, minlength=classes**2).reshape(classes, classes)


def _cells(true: torch.Tensor, predicted: torch.Tensor) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """Return for each cell with a count its images in order, each with by how many networks it was answered so."""
    found: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for image, (right, answers) in enumerate(zip(true.tolist(), predicted.T, strict=True)):
        for answer, networks in zip(*(v.tolist() for v in answers.unique(return_counts=True)), strict=True):
            found.setdefault((right, answer), []).append((image, networks))
    return found


def _as_weighs(cells: dict, images: torch.Tensor, weight: int) -> tuple[dict, str]:
    """Return as many of each cell's first images as the weight allows, and the sheet on which they lie."""
    for most in MOST:
        chosen = {cell: some[:most] for cell, some in cells.items()}
        shown = dict.fromkeys(image for some in chosen.values() for image, _ in some)
        address = sheet(images[list(shown)], QUALITY)
        if len(address) <= weight or most == MOST[-1]:
            return chosen, address
    raise AssertionError("the last try counts, whatever it weighs")


def _of_report(printed: Printed | None) -> dict | None:
    if printed is None:
        return None
    return {"counts": np.asarray(printed.counts).tolist(), "names": list(printed.names), "note": printed.note}
