"""Encoders pass from one chapter to the next: the right file, or a clear error."""

from types import SimpleNamespace

import pytest
import torch

from cifar_utils.data import sets as data
from cifar_utils.errors import ParameterError, RunError
from cifar_utils.models.encoder import Encoder
from cifar_utils.train import checkpoint
from reproduce import handover


class Run(SimpleNamespace):
    """As much of a chapter as the module asks for."""

    device = torch.device("cpu")

    def artifact(self, file, of=None):
        path = self.folder / of / file
        if not path.exists():
            raise RunError(f"needs {file}")
        return path


@pytest.fixture(scope="module")
def split():
    return data.load("cifar10", data="sample", train_images=60).train


def test_the_file_of_kind_and_seed_is_loaded(tmp_path, split):
    for kind, seed in (("triplet", 0), ("triplet", 1), ("start", 1)):
        torch.manual_seed(10 * seed + len(kind))
        checkpoint.save_weights(tmp_path / handover.SOURCE / f"{kind}_{seed}.safetensors", Encoder(2))
    torch.manual_seed(10 + len("triplet"))
    expected = Encoder(2).state_dict()
    found = handover.encoder_of(Run(folder=tmp_path, is_sample=False), "triplet", 1, 2, split)
    assert not found.training
    assert all(torch.equal(v, expected[k]) for k, v in found.state_dict().items())


def test_a_missing_encoder_is_an_error_on_real_data_and_made_on_sample_data(tmp_path, split):
    with pytest.raises(RunError):
        handover.encoder_of(Run(folder=tmp_path, is_sample=False), "triplet", 0, 2, split)
    start, trained = (handover.encoder_of(Run(folder=tmp_path, is_sample=True), k, 0, 2, split)
                      for k in ("start", "triplet"))  # fmt: skip
    assert not torch.equal(start.head[0].weight, trained.head[0].weight)


def test_another_width_and_an_unknown_kind_are_refused(tmp_path, split):
    checkpoint.save_weights(tmp_path / handover.SOURCE / "triplet_0.safetensors", Encoder(2))
    with pytest.raises(RunError, match="another architecture"):
        handover.encoder_of(Run(folder=tmp_path, is_sample=False), "triplet", 0, 3, split)
    with pytest.raises(ParameterError, match="expected one of"):
        handover.encoder_of(Run(folder=tmp_path, is_sample=False), "semi", 0, 2, split)
