"""Windows of images as a network's first layer: another one every time in training, always the middle to measure."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..errors import ParameterError


class RandomWindow(nn.Module):
    """Cut a window out of every image, at a place of its own in training and in the middle in evaluation.

    As a layer, and not as an augmentation, it may change the images' size, and whatever the network is shown is cut
    alike. Places come from PyTorch's generator, as the zeros of dropout do, so that the order of images is the same
    with it and without.

    Args:
        side: pixels to a side of the window.

    Raises:
        ParameterError: less than one pixel; images smaller than the window.
    """

    def __init__(self, side: int):
        super().__init__()
        if side < 1:
            raise ParameterError(f"side is {side}; expected 1 pixel or more.")
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        """Return windows (B, C, side, side) of images (B, C, H, W)."""
        free = torch.tensor(x.shape[-2:]) - self.side
        if int(free.min()) < 0:
            raise ParameterError(f"Images of {tuple(x.shape[-2:])} pixels have no window of {self.side} to a side.")
        down, across = free.tolist()
        if not self.training:
            top, left = down // 2, across // 2
            return x[..., top : top + self.side, left : left + self.side]
        inside = torch.arange(self.side, device=x.device)
        rows = torch.randint(down + 1, (len(x), 1), device=x.device) + inside
        columns = torch.randint(across + 1, (len(x), 1), device=x.device) + inside
        image = torch.arange(len(x), device=x.device)[:, None, None]
        # indexed in between, channels would come first: so they are put last, where the layout wants them anyway
        windows = x.permute(0, 2, 3, 1)[image, rows[:, :, None], columns[:, None, :]]
        return windows.permute(0, 3, 1, 2)

    def extra_repr(self) -> str:
        """Return what PyTorch prints of the layer."""
        return f"side={self.side}"
