"""Encoders that chapter A1 2.1 trains, as the later chapters of the report take them over."""

from __future__ import annotations

import torch

from cifar_utils.data.sets import Split, channel_stats
from cifar_utils.errors import ParameterError, RunError
from cifar_utils.models.encoder import Encoder
from cifar_utils.train import checkpoint
from cifar_utils.train.loop import fit, seed_everything
from cifar_utils.train.triplets import TripletBatches, TripletNetwork, triplet_loss

from .chapter import Chapter

#: The notebook that leaves the encoders, and what it leaves for each seed.
SOURCE = "a1_q2_1_triplet_encoder"
KINDS = ("start", "triplet", "contrastive")


def encoder_of(run: Chapter, kind: str, seed: int, width: int, split: Split, dim: int = 64) -> Encoder:
    """Return an encoder of chapter A1 2.1 on the chapter's device, channels last, in evaluation mode.

    On sample data, where a notebook must run alone, a missing one is made on the spot: an epoch of triplets.

    Args:
        run: the chapter that asks.
        kind: `start` (untrained), `triplet`, or `contrastive` (its supervised-contrastive twin).
        seed: of the training there.
        width: channels of the first group; must be that chapter's.
        split: training images, for the stand-in only.
        dim: length of the embedding.

    Raises:
        ParameterError: an unknown kind.
        RunError: the encoder is missing on real data, or has another width.
    """
    if kind not in KINDS:
        raise ParameterError(f"kind is {kind!r}; expected one of {', '.join(KINDS)}.")
    seed_everything(seed)
    encoder = Encoder(width, dim)
    try:
        path = run.artifact(f"{kind}_{seed}.safetensors", of=SOURCE)
    except RunError:
        if not run.is_sample:
            raise
        if kind != "start":
            _train_a_little(encoder.to(run.device), split, seed + KINDS.index(kind))
    else:
        checkpoint.load_weights(path, encoder)
    return encoder.to(run.device).to(memory_format=torch.channels_last).eval()


def _train_a_little(encoder: Encoder, split: Split, seed: int) -> None:
    batches = TripletBatches(split, min(50, len(split)), stats=channel_stats(split), seed=seed)
    optimizer = torch.optim.Adam(encoder.parameters(), lr=1e-3)
    fit(TripletNetwork(encoder), batches, optimizer, epochs=1, loss=triplet_loss())
