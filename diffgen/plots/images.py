"""Grids of images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from torch import Tensor


def image_rows(rows: Sequence[Tensor], ax: Axes, labels: Sequence[str] = (), pad: int = 1) -> Axes:
    """Images side by side, one row a tensor (N, C, H, W) with values in [−1, 1]; values outside are shown clipped.

    One channel is shown in grey, three in colour.

    Args:
        rows: of equal length.
        ax: where to draw.
        labels: what each row is, written at its left.
        pad: pixels between images.

    Raises:
        ValueError: other than one or three channels.
    """
    height, width = rows[0].shape[2] + pad, rows[0].shape[3] + pad
    channels = rows[0].shape[1]
    if channels not in (1, 3):
        raise ValueError(f"rows have {channels} channels: images are drawn in grey (1) or in colour (3)")
    canvas = np.ones((len(rows) * height - pad, len(rows[0]) * width - pad, channels))
    for i, row in enumerate(rows):
        for j, image in enumerate(row.detach().cpu().float().permute(0, 2, 3, 1).numpy()):
            canvas[i * height : (i + 1) * height - pad, j * width : (j + 1) * width - pad] = image
    shown = (canvas.clip(-1, 1) + 1) / 2
    ax.imshow(shown[..., 0] if channels == 1 else shown, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    ax.grid(False)
    ax.set_xticks([])
    ax.set_yticks([i * height + (height - pad - 1) / 2 for i in range(len(labels))], labels)
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    return ax
