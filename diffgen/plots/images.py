"""Grids of images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from torch import Tensor


def image_rows(rows: Sequence[Tensor], ax: Axes, labels: Sequence[str] = (), pad: int = 1) -> Axes:
    """Images side by side, one row a tensor (N, C, H, W) with values in [−1, 1]; values outside are shown clipped.

    Args:
        rows: of equal length.
        ax: where to draw.
        labels: what each row is, written at its left.
        pad: pixels between images.
    """
    height, width = rows[0].shape[2] + pad, rows[0].shape[3] + pad
    canvas = np.ones((len(rows) * height - pad, len(rows[0]) * width - pad))
    for i, row in enumerate(rows):
        for j, image in enumerate(row.detach().cpu().float().mean(1).numpy()):
            canvas[i * height : (i + 1) * height - pad, j * width : (j + 1) * width - pad] = image
    ax.imshow(canvas, cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
    ax.grid(False)
    ax.set_xticks([])
    ax.set_yticks([i * height + (height - pad - 1) / 2 for i in range(len(labels))], labels)
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    return ax
