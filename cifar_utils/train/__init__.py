"""Training loops: one network, many small ones at once, triplets; and what is kept of a training."""

from . import deep_loop, fast, lookahead, loops, numpy_loops, sklearn_loop, test_time  # noqa: F401 - so that they are registered
from .loop import History, evaluate, fit, seed_everything
from .recipe import SGD, Adam, Part, Recipe
from .records import Training
from .softmax import descend_softmax
from .store import Store
from .triplets import (
    FixedTriplets,
    TripletBatches,
    TripletIndex,
    TripletNetwork,
    batch_hard_loss,
    distance,
    hinge,
    semi_hard_loss,
    supervised_contrastive_loss,
    triplet_loss,
    triplet_margin_loss,
)

__all__ = [
    "SGD", "Adam", "FixedTriplets", "History", "Part", "Recipe", "Store", "Training", "TripletBatches",
    "TripletIndex",
    "TripletNetwork", "batch_hard_loss", "descend_softmax", "distance", "evaluate", "fit", "hinge",
    "seed_everything", "semi_hard_loss",
    "supervised_contrastive_loss", "triplet_loss", "triplet_margin_loss",
]  # fmt: skip
