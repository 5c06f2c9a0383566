"""What is measured on networks and over seeds, and how it is drawn.

Only the statistics are loaded with the room; everything else when it is first asked for, so that a program which
only needs an interval loads neither PyTorch nor matplotlib.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from .stats import Summary, bootstrap, difference, percent, repeat, summarise

if TYPE_CHECKING:  # the same names as in _WHERE, for editors, type checkers and fingerprints
    from .bag_of_words import BagOfWords
    from .conditioning import condition_number, patch_moments
    from .embeddings import embed, knn_accuracy, knn_predict
    from .fields import field_table, receptive_field, sensitivity, width_holding
    from .fully_convolutional import as_convolutions
    from .gradients import expected_factors
    from .layers import layer_table
    from .probe import Probe, linear_probe

_WHERE = {
    "BagOfWords": "bag_of_words",
    "Probe": "probe",
    "as_convolutions": "fully_convolutional",
    "condition_number": "conditioning",
    "embed": "embeddings",
    "expected_factors": "gradients",
    "field_table": "fields",
    "knn_accuracy": "embeddings",
    "knn_predict": "embeddings",
    "layer_table": "layers",
    "linear_probe": "probe",
    "patch_moments": "conditioning",
    "receptive_field": "fields",
    "sensitivity": "fields",
    "width_holding": "fields",
}


def __getattr__(name: str):
    if name not in _WHERE:
        raise AttributeError(f"{__name__} has no {name}")
    found = getattr(import_module(f".{_WHERE[name]}", __name__), name)
    globals()[name] = found
    return found


__all__ = [
    "BagOfWords", "Probe", "Summary", "as_convolutions", "bootstrap", "condition_number", "difference", "embed",
    "expected_factors", "field_table", "knn_accuracy", "knn_predict", "layer_table", "linear_probe", "patch_moments",
    "percent", "receptive_field", "repeat", "sensitivity", "summarise", "width_holding",
]  # fmt: skip
