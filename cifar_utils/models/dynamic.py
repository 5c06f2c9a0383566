"""Convolutions mixed per image by predicted weights, and the network of eleven blocks built of them (report NNDL)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import ParameterError

#: Ways to compute the same dynamic convolution.
COMBINE = ("outputs", "inputs", "kernels", "auto")

#: How the predicted numbers become mixing weights; `none` is a plain convolution, without a prediction.
MIXING = ("linear", "softmax", "none", "relu")

#: What goes past the dynamic convolution of a block.
SHORTCUTS = ("residual", "projection", "none")

#: What draws the first weights, Kaiming's for all layers, for the linear ones only, or PyTorch's own.
INITIALISATIONS = ("kaiming", "kaiming linear", "default")

#: The report's eleven blocks, by how many times the first width each has, and behind which one a maximum is taken.
WIDTH_FACTORS = (1, 2, 2, 2, 4, 4, 4, 8, 8, 8, 8)
POOLED = (1, 4, 7)


class DynamicConv2d(nn.Module):
    """A 3x3 convolution whose kernel is a mix of `k` kernels, with weights predicted from each image's mean.

    For an image x with mean m over its pixels, the mixing weights are `p = A m + c` (k numbers) and the output
    is `sum_i p_i (W_i * x + b_i)`. A convolution is linear in its kernel, so that this is also one convolution with
    the kernel `sum_i p_i W_i`, another for every image (Chen and others, "Dynamic convolution: attention
    over convolution kernels", 2020, there with a softmax over p; Yang and others, "CondConv", 2019).

    Args:
        inputs, outputs: channels.
        k: kernels to mix.
        mixing: `linear`, the bare prediction; `softmax`, which makes the weights positive with a sum of one; `relu`;
            `none`, only for k = 1: a plain convolution.
        combine: `outputs` runs k convolutions and mixes what they give; `inputs` scales k copies of the input,
            and one convolution adds them up; `kernels` mixes the kernels of each image, and runs one grouped
            convolution over the batch; `auto` takes one of the last two (see `cheapest`).

    Raises:
        ParameterError: k or a number of channels below 1; an unknown `mixing` or `combine`; `none` with k > 1.
    """

    def __init__(self, inputs: int, outputs: int, k: int = 4, *, mixing: str = "linear", combine: str = "auto"):
        super().__init__()
        if k < 1:
            raise ParameterError(f"k is {k}; expected 1 or more kernels to mix.")
        if min(inputs, outputs) < 1:
            raise ParameterError(f"Channels are {inputs} and {outputs}; expected 1 or more of each.")
        _one_of("mixing", mixing, MIXING)
        _one_of("combine", combine, COMBINE)
        if mixing == "none" and k > 1:
            raise ParameterError(f"mixing is 'none' and k is {k}; expected k = 1, or 'linear' or 'softmax'.")
        self.inputs, self.outputs, self.k, self.mixing, self.combine = inputs, outputs, k, mixing, combine
        # all kernels below each other, so that `model.to(memory_format=torch.channels_last)` takes them
        self.weight = nn.Parameter(torch.empty(k * outputs, inputs, 3, 3))
        self.bias = nn.Parameter(torch.empty(k, outputs))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.mixer = None if mixing == "none" else nn.Linear(inputs, k)
        self.reset_parameters()

    def reset_parameters(self, kaiming: bool = False, slope: float = 0.01) -> None:
        """Draw the kernels as `nn.Conv2d` does, or from Kaiming's normal distribution, with biases of zero.

        Args:
            kaiming: draw with a standard deviation of `sqrt(2 / ((1 + slope^2) * 9 * inputs))`.
            slope: of the leaky ReLU that follows.
        """
        if kaiming:
            nn.init.kaiming_normal_(self.weight, a=slope, nonlinearity="leaky_relu")
            nn.init.zeros_(self.bias)
        else:
            nn.init.kaiming_uniform_(self.weight, a=5**0.5)
            nn.init.uniform_(self.bias, -((9 * self.inputs) ** -0.5), (9 * self.inputs) ** -0.5)

    @property
    def kernels(self) -> Tensor:
        """The k kernels, (k, outputs, inputs, 3, 3): a view of `weight`."""
        return self.weight.unflatten(0, (self.k, self.outputs))

    def mixing_weights(self, x: Tensor) -> Tensor:
        """Return the mixing weights, float (B, k), of inputs (B, C, H, W)."""
        if self.mixer is None:
            return x.new_ones(len(x), 1)
        predicted = self.mixer(self.pool(x).flatten(1))
        if self.mixing == "relu":
            return predicted.relu()
        return predicted.softmax(1) if self.mixing == "softmax" else predicted

    def cheapest(self, height: int, width: int) -> str:
        """Return `kernels` or `inputs`, whichever touches less memory for an image of that size.

        Mixing kernels makes `9 * inputs * outputs` numbers an image, scaling inputs `k * inputs * H * W`;
        mixing kernels also multiplies k times less.
        """
        return "kernels" if 9 * self.outputs <= self.k * height * width else "inputs"

    def forward(self, x: Tensor) -> Tensor:
        """Return the mixed convolution (B, outputs, H, W) of inputs (B, inputs, H, W)."""
        if self.mixer is None:
            return F.conv2d(x, self.weight, self.bias[0], padding=1)
        combine = self.cheapest(*x.shape[2:]) if self.combine == "auto" else self.combine
        return getattr(self, f"_by_{combine}")(x, self.mixing_weights(x))

    def _by_outputs(self, x: Tensor, p: Tensor) -> Tensor:
        each = [F.conv2d(x, w, b, padding=1) for w, b in zip(self.kernels, self.bias, strict=True)]
        return sum(p[:, i, None, None, None] * y for i, y in enumerate(each))  # pyright: ignore[reportReturnType]

    def _by_inputs(self, x: Tensor, p: Tensor) -> Tensor:
        copies = (p[:, :, None, None, None] * x[:, None]).flatten(1, 2)  # (B, k * inputs, H, W)
        y = F.conv2d(copies, self.kernels.transpose(0, 1).flatten(1, 2), padding=1)
        return y + (p @ self.bias)[:, :, None, None]

    def _by_kernels(self, x: Tensor, p: Tensor) -> Tensor:
        (batch, _, height, width), size = x.shape, self.weight.shape[1:]
        mixed = (p @ self.kernels.flatten(1)).view(batch * self.outputs, *size)
        x = x.reshape(1, batch * self.inputs, height, width)
        y = F.conv2d(x, mixed, (p @ self.bias).flatten(), padding=1, groups=batch)
        return y.view(batch, self.outputs, height, width)

    def extra_repr(self) -> str:
        """Return the settings, for printing."""
        return f"{self.inputs}, {self.outputs}, k={self.k}, mixing={self.mixing!r}, combine={self.combine!r}"


class DynamicBlock(nn.Module):
    """Dynamic convolution, batch normalisation, leaky ReLU and, in some blocks, a 2x2 maximum.

    Args:
        inputs, outputs: channels.
        k, mixing, combine: of the `DynamicConv2d`.
        pool: end with 2x2 max pooling.
        shortcut: `residual` adds the block's input before the leaky ReLU, through a 1x1 convolution with batch
            normalisation where the channels change and as it is where they don't; `projection` adds
            it only where they change; `none` adds nothing.
        norm: normalise the convolution's output over the batch.
        slope: of the leaky ReLU below zero; 0 makes it a ReLU.

    Raises:
        ParameterError: an unknown `shortcut`, or what `DynamicConv2d` refuses.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        k: int = 4,
        *,
        pool: bool = False,
        shortcut: str = "residual",
        mixing: str = "linear",
        combine: str = "auto",
        norm: bool = True,
        slope: float = 0.01,
    ):
        super().__init__()
        _one_of("shortcut", shortcut, SHORTCUTS)
        self.conv = DynamicConv2d(inputs, outputs, k, mixing=mixing, combine=combine)
        self.norm = nn.BatchNorm2d(outputs) if norm else nn.Identity()
        self.shortcut: nn.Module | None = None
        if shortcut != "none" and inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1), nn.BatchNorm2d(outputs))
        elif shortcut == "residual":
            self.shortcut = nn.Identity()
        self.activation = nn.LeakyReLU(slope)
        self.pool = nn.MaxPool2d(2) if pool else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, outputs, H, W), halved in height and width by a pooling, of inputs (B, inputs, H, W)."""
        y = self.norm(self.conv(x))
        if self.shortcut is not None:
            y = y + self.shortcut(x)
        return self.pool(self.activation(y))


class DynamicNet(nn.Module):
    """Eleven dynamic blocks, the mean over pixels, and a linear classifier (report NNDL, task 2).

    The report gives neither widths nor k nor the places of the poolings; these are ours: the width
    doubles behind every pooling, from `width` to eight times that.

    Args:
        classes: number of scores.
        width: channels of the first block.
        k: kernels that each block mixes.
        factors: each block's channels as a multiple of `width`.
        pooled: blocks, counted from 1, that end with a 2x2 maximum; () for none.
        channels: of the images.
        shortcut, mixing, combine, norm, slope: of every `DynamicBlock`.
        init: `kaiming` draws all weights from Kaiming's normal distribution; `kaiming linear` only those of
            linear layers, as the report says; `default` leaves PyTorch's own.

    Raises:
        ParameterError: a width below 1, no blocks, a pooling behind a block that does not exist, or what
            `DynamicBlock` refuses.
    """

    def __init__(
        self,
        classes: int = 10,
        width: int = 32,
        k: int = 4,
        *,
        factors: Sequence[int] = WIDTH_FACTORS,
        pooled: Sequence[int] = POOLED,
        channels: int = 3,
        shortcut: str = "residual",
        mixing: str = "linear",
        combine: str = "auto",
        norm: bool = True,
        slope: float = 0.01,
        init: str = "kaiming",
    ):
        super().__init__()
        if width < 1 or not factors:
            raise ParameterError(f"width is {width} for {len(factors)} blocks; expected 1 or more of both.")
        if strangers := set(pooled) - set(range(1, len(factors) + 1)):
            raise ParameterError(f"pooled names block {min(strangers)}; expected 1 to {len(factors)}.")
        _one_of("init", init, INITIALISATIONS)
        widths = [channels, *(width * f for f in factors)]
        options = {"shortcut": shortcut, "mixing": mixing, "combine": combine, "norm": norm, "slope": slope}
        self.blocks = nn.ModuleList(
            DynamicBlock(a, b, k, pool=i in pooled, **options)
            for i, (a, b) in enumerate(zip(widths[:-1], widths[1:], strict=True), start=1)
        )
        self.smallest = 2 ** len(set(pooled))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(widths[-1], classes)
        self._initialise(init, slope)

    def forward(self, x: Tensor) -> Tensor:
        """Return scores (B, classes), before any softmax, of images (B, C, H, W).

        Raises:
            ParameterError: the images are too small for the poolings.
        """
        self._check(x)
        for block in self.blocks:
            x = block(x)
        return self.classifier(self.pool(x).flatten(1))

    @torch.no_grad()
    def mixing_weights(self, x: Tensor) -> Tensor:
        """Return the mixing weights of every block, float (blocks, B, k), of images (B, C, H, W).

        The network's mode decides what batch normalisation does: call `eval()` before.

        Raises:
            ParameterError: the images are too small for the poolings.
        """
        self._check(x)
        found = []
        for block in self.blocks:
            found.append(block.conv.mixing_weights(x))  # pyright: ignore
            x = block(x)
        return torch.stack(found)

    def _check(self, x: Tensor) -> None:
        if min(x.shape[2:]) < self.smallest:
            raise ParameterError(
                f"Images of {x.shape[2]}x{x.shape[3]} are too small for the poolings; expected {self.smallest}x"
                f"{self.smallest} or more."
            )

    def _initialise(self, init: str, slope: float) -> None:
        if init == "default":
            return
        for layer in self.modules():
            if isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and init == "kaiming"):
                nn.init.kaiming_normal_(layer.weight, a=slope, nonlinearity="leaky_relu")
                nn.init.zeros_(layer.bias)  # pyright: ignore[reportArgumentType]: these layers have one
            elif isinstance(layer, DynamicConv2d) and init == "kaiming":
                layer.reset_parameters(kaiming=True, slope=slope)


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ParameterError(f"{name} is {value!r}; expected one of {', '.join(map(repr, choices))}.")
