"""Grids of images: the pixels that are drawn are those that were given."""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from diffgen.plots.images import image_rows

SIDE, PAD = 5, 2


def drawn(rows, **options):
    """The image on the axes."""
    (image,) = image_rows(rows, Figure().subplots(), pad=PAD, **options).images
    return image


def cells(pixels):
    """The grid's images, by row and column; what lies between them is white."""
    step, (height, width) = SIDE + PAD, pixels.shape[:2]
    tops, lefts = range(0, height, step), range(0, width, step)
    between = np.ones((height, width), bool)
    for top in tops:
        for left in lefts:
            between[top : top + SIDE, left : left + SIDE] = False
    assert (pixels[between] == 1).all()
    return [[pixels[top : top + SIDE, left : left + SIDE] for left in lefts] for top in tops]


def images(channels):
    """Two rows of three, some of their values outside [−1, 1], and the values that are to be drawn."""
    rows = list(torch.randn(2, 3, channels, SIDE, SIDE, generator=torch.Generator().manual_seed(0)))
    assert max(row.abs().max() for row in rows) > 1
    return rows, [[(image.clamp(-1, 1) + 1) / 2 for image in row] for row in rows]


def test_one_channel_is_grey():
    rows, expected = images(1)
    image = drawn(rows)
    pixels = np.asarray(image.get_array())
    assert pixels.shape == (2 * SIDE + PAD, 3 * SIDE + 2 * PAD)
    for row, expected_row in zip(cells(pixels), expected, strict=True):
        for cell, values in zip(row, expected_row, strict=True):
            np.testing.assert_allclose(cell, values[0], atol=1e-6)
    shown = image.to_rgba(image.get_array())  # black is −1 and white is 1, whatever the images' own extremes
    np.testing.assert_allclose(shown[..., :3], np.repeat(pixels[..., None], 3, 2), atol=1 / 255)
    faint = drawn([torch.full((1, 1, SIDE, SIDE), -0.5)])
    np.testing.assert_allclose(faint.to_rgba(faint.get_array())[..., :3], 0.25, atol=1 / 255)


def test_three_channels_are_in_colour():
    rows, expected = images(3)
    image = drawn(rows)
    pixels = np.asarray(image.get_array())
    assert pixels.shape == (2 * SIDE + PAD, 3 * SIDE + 2 * PAD, 3)
    for row, expected_row in zip(cells(pixels), expected, strict=True):
        for cell, values in zip(row, expected_row, strict=True):
            np.testing.assert_allclose(cell, values.permute(1, 2, 0), atol=1e-6)  # red, green and blue, in this order
    shown = image.to_rgba(image.get_array())
    np.testing.assert_allclose(shown[..., :3], pixels, atol=1 / 255)


def test_two_channels_are_refused_in_one_line():
    rows, _ = images(2)
    with pytest.raises(ValueError, match=r"^rows have 2 channels: .*grey \(1\).*colour \(3\)") as raised:
        drawn(rows)
    assert "\n" not in str(raised.value)


def test_labels_stand_in_the_middle_of_their_rows():
    rows, _ = images(1)
    axes = drawn(rows, labels=["given", "drawn"]).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["given", "drawn"]
    assert list(axes.get_yticks()) == [(SIDE - 1) / 2, SIDE + PAD + (SIDE - 1) / 2]
