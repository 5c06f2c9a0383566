"""Many small images on one sheet, which a page holds itself: what maps and matrices show their images from."""

from __future__ import annotations

import base64
import io

import numpy as np
import torch
from PIL import Image

#: Images in a row of a sheet.
ROW = 20


def sheet(images: torch.Tensor, quality: int = 60) -> str:
    """Return images on one sheet, `ROW` in a row, as the address of a WebP picture that holds itself.

    Args:
        images: (N, channels, height, width), uint8, on any device.
        quality: of the picture, from 0 to 100.
    """
    pixels = images.cpu().numpy().transpose(0, 2, 3, 1)
    count, height, width, channels = pixels.shape
    rows = -(-count // ROW)
    padded = np.zeros((rows * ROW, height, width, channels), np.uint8)
    padded[:count] = pixels
    laid = padded.reshape(rows, ROW, height, width, channels).swapaxes(1, 2).reshape(rows * height, -1, channels)
    out = io.BytesIO()
    Image.fromarray(laid.squeeze()).save(out, "WEBP", quality=quality, method=6)
    return f"data:image/webp;base64,{base64.b64encode(out.getvalue()).decode()}"
