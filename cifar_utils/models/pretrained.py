"""Networks trained on ImageNet, kept fixed, that turn images into features; and a linear classifier on top.

Weights are looked for in the data folder, verified, and downloaded where they are missing. Torchvision's whole
AlexNet is taken where the folder has it; otherwise its convolutions, and SqueezeNet for 1000 class scores.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import models as zoo

from ..errors import DataError, ParameterError
from ..files.sources import WEIGHTS, in_one_sentence, locate_one_of

#: Mean and standard deviation of ImageNet's red, green and blue, in units of 255.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

#: How pixel values reach the network, which is as it was trained, divided by 255 only, or as they are.
SCALES = ("imagenet", "unit", "bytes")


@dataclass(frozen=True)
class Extractor:
    """A fixed network and what is to be known of it.

    Attributes:
        network: maps float32 images (N, 3, H, W) to features; in evaluation mode, without gradients.
        name: what it is, in words, for a reader.
        key: short name for file names; differs wherever the weights differ.
        smallest: the least height and width of an image that it can take, in pixels.
        provenance: where the weights came from, in the form of `data.Dataset.provenance`.
    """

    network: nn.Module
    name: str
    key: str
    smallest: int
    provenance: dict = field(default_factory=dict, repr=False)


def convolutions(data: str = "real", seed: int = 0) -> Extractor:
    """Return AlexNet's five convolutions; features are the flattened last map, 256 channels.

    Args:
        data: `real` for ImageNet's weights, `sample` for random ones, which know nothing.
        seed: of the random weights.

    Raises:
        DataError: the weights are missing, damaged or of another architecture.
    """
    network = _random(lambda: zoo.alexnet(weights=None).features, seed)
    if data == "sample":
        return _fixed(nn.Sequential(network, nn.Flatten()), "AlexNet's convolutions with random weights",
                      f"randomconv{seed}", 63)  # fmt: skip
    state, provenance = read("convolutions")
    state = {k.removeprefix("features."): v for k, v in state.items() if k.startswith("features.")}
    load(network, state, provenance["file"])
    return _fixed(nn.Sequential(network, nn.Flatten()), "AlexNet's convolutions, trained on ImageNet",
                  "alexnetconv", 63, provenance)  # fmt: skip


def class_scores(data: str = "real", seed: int = 0) -> Extractor:
    """Return a network that gives scores of ImageNet's 1000 classes: AlexNet, or SqueezeNet 1.1 in its place.

    Args:
        data: `real` for ImageNet's weights, `sample` for a SqueezeNet with random ones, which knows nothing.
        seed: of the random weights.

    Raises:
        DataError: the weights are missing, damaged or of another architecture.
    """
    if data == "sample":
        return _fixed(_random(lambda: zoo.squeezenet1_1(weights=None), seed), "SqueezeNet 1.1 with random weights",
                      f"randomscores{seed}", 17)  # fmt: skip
    state, provenance = read("class_scores")
    build, name, key, smallest = {
        "alexnet": (zoo.alexnet, "AlexNet", "alexnetscores", 63),
        "squeezenet": (zoo.squeezenet1_1, "SqueezeNet 1.1", "squeezenetscores", 17),
        "squeezenet_16bit": (zoo.squeezenet1_1, "SqueezeNet 1.1", "squeezenet", 17),
    }[provenance["weights"]]
    network = build(weights=None)
    load(network, state, provenance["file"])
    return _fixed(network, f"{name}, trained on ImageNet", key, smallest, provenance)


def read(need: str) -> tuple[dict[str, Tensor], dict]:
    """Return the verified state dict that serves `need`, float32, and its provenance. Nothing in it can run code.

    Args:
        need: a key of `sources.SERVES`: `convolutions` or `class_scores`.

    Raises:
        DataError: no file that serves is here and none could be downloaded, or its sum is not the one expected.
    """
    name, folder = locate_one_of(need)
    file, expected = next(iter(WEIGHTS[name].files.items()))
    with in_one_sentence(name):
        state = torch.load(folder / file, weights_only=True, map_location="cpu")
    rounded = {v.dtype for v in state.values()} == {torch.float16}
    source = f"verified file {Path(file).name}{', rounded to 16 bits' if rounded else ''}"
    provenance = {"name": f"weights of {name}", "sample": False, "source": source, "weights": name, "file": file,
                  "md5": {file: expected}}  # fmt: skip
    return {k: v.float() for k, v in state.items()}, provenance


def load(network: nn.Module, state: dict[str, Tensor], path: Path | str) -> None:
    """Load every weight of `network` from `state`, in place.

    Raises:
        DataError: names or shapes differ, so the weights belong to another architecture.
    """
    wanted = network.state_dict()
    wrong = [k for k in wanted if k not in state or state[k].shape != wanted[k].shape]
    wrong += [k for k in state if k not in wanted]
    if wrong:
        k = wrong[0]
        shape = lambda d: f"{tuple(d[k].shape)}" if k in d else "nothing"  # noqa: E731
        raise DataError(f"{Path(path).name} holds weights of another architecture: {k} is {shape(state)} there and "
                        f"{shape(wanted)} in the network; build the network that they were trained in.")  # fmt: skip
    network.load_state_dict(state)


def prepare(images: Tensor, size: int, scale: str = "imagenet") -> Tensor:
    """Return uint8 images (N, 3, H, W) as float32 (N, 3, size, size), enlarged bilinearly.

    Args:
        images: pixel values 0..255.
        size: new height and width.
        scale: `imagenet` subtracts the mean and divides by the deviation that the networks were trained
            with, `unit` divides by 255 only, `bytes` leaves 0..255.

    Raises:
        ParameterError: another `scale`, or images that are not uint8 with three channels.
    """
    if scale not in SCALES:
        raise ParameterError(f"scale is {scale!r}; expected one of {', '.join(SCALES)}.")
    if images.dtype != torch.uint8 or images.dim() != 4 or images.shape[1] != 3:
        raise ParameterError(f"Images are {images.dtype} {tuple(images.shape)}; expected uint8 (N, 3, H, W).")
    x = F.interpolate(images.float(), size=(size, size), mode="bilinear", align_corners=False)
    if scale == "bytes":
        return x
    x /= 255
    if scale == "imagenet":
        mean, std = (torch.tensor(v, device=x.device).view(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
        x = (x - mean) / std
    return x


@torch.no_grad()
def extract(
    extractor: Extractor, images: Tensor, size: int = 224, scale: str = "imagenet", batch: int = 64,
    autocast: torch.dtype | None = None, cache: Path | None = None,
) -> Tensor:  # fmt: skip
    """Return the features of uint8 images (N, 3, H, W), float32 (N, D), computed in batches.

    Args:
        extractor: the fixed network.
        images: pixel values 0..255, on the device where the work is to be done.
        size, scale: as for `prepare`.
        batch: images at once; the features do not depend on it (up to rounding).
        autocast: `torch.bfloat16` for the products inside the network.
        cache: a folder where features are kept, as safetensors under a name that says whose they are;
            a second call reads them.

    Raises:
        ParameterError: images too small for the network, or an unknown scale.
    """
    if size < extractor.smallest:
        raise ParameterError(f"size is {size}; {extractor.name} needs {extractor.smallest} pixels or more, "
                             "because its poolings leave nothing of a smaller image.")  # fmt: skip
    path = None
    if cache is not None:
        whose = hashlib.sha256(images.cpu().numpy().tobytes()).hexdigest()[:12]
        path = cache / f"{extractor.key}-{size}-{scale}-{autocast or 'float32'}-{whose}.safetensors"
        if path.exists():
            return load_file(path)["features"].to(images.device)
    network = extractor.network.to(images.device).to(memory_format=torch.channels_last)
    found = []
    for start in range(0, len(images), batch):
        x = prepare(images[start : start + batch], size, scale).contiguous(memory_format=torch.channels_last)
        with torch.autocast(x.device.type, autocast, enabled=autocast is not None):
            found.append(network(x).float())
    features = torch.cat(found)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(f".{os.getpid()}.part")  # of this process: several may want the same features
        save_file({"features": features.cpu()}, draft)
        draft.replace(path)  # a run killed while writing leaves no half file
    return features


def _random(build, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def _fixed(network: nn.Module, name: str, key: str, smallest: int, provenance: dict | None = None) -> Extractor:
    return Extractor(network.eval().requires_grad_(False), name, key, smallest, provenance or {})
