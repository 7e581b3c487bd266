"""Precomputed results that a reader scrubs through: sliders choose among images and curves, with no kernel.

A chapter computes every place of every slider, and the page carries all of it: images as one PNG a row, curves as
numbers. See `diffgen.widgets.parts` for what it is made of.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import anywidget
import traitlets as t

from diffgen.widgets.javascript import source
from diffgen.widgets.parts import Curves, Images, Slider


class Scrubber(anywidget.AnyWidget):
    """Sliders over precomputed images and curves.

    Args:
        sliders: what a reader chooses, in the order of the tensors' dimensions.
        images: rows, from top to bottom.
        curves: plots, one below the other.
        title: what the widget shows, for screen readers.
        play: name of a slider that a button moves through its places.
        limit: bytes that the widget may take in the page.

    Traits are synchronized with a kernel where there is one.

    Attributes:
        places: index of the chosen place, one a slider.
    """

    _esm = source("ui.js", "plot.js", "scrubber.js")
    _css = source("widgets.css")
    title = t.Unicode().tag(sync=True)
    sliders: t.List[Any] = t.List().tag(sync=True)
    images: t.List[Any] = t.List().tag(sync=True)
    curves: t.List[Any] = t.List().tag(sync=True)
    play = t.Int(None, allow_none=True).tag(sync=True)
    places = t.List(t.Int()).tag(sync=True)

    def __init__(
        self,
        sliders: Sequence[Slider],
        images: Sequence[Images] = (),
        curves: Sequence[Curves] = (),
        *,
        title: str = "Precomputed results",
        play: str | None = None,
        limit: int = 1_500_000,
    ):
        names = [slider.name for slider in sliders]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"sliders have the names {names}: give one slider or more, each with a name of its own")
        if play is not None and play not in names:
            raise ValueError(f"play is {play!r}: the sliders are {names}")
        if not images and not curves:
            raise ValueError("images and curves are empty: there is nothing to show")
        parts = {"images": [part.state(sliders) for part in images], "curves": [part.state(sliders) for part in curves]}
        sizes = {name: len(json.dumps(part)) for name, part in parts.items()}
        if sum(sizes.values()) > limit:
            shares = " and ".join(f"{name} of {size / 1e6:.2f} MB" for name, size in sizes.items())
            raise ValueError(
                f"{shares} are above limit, {limit / 1e6:.2f} MB: give fewer columns or places, or raise it"
            )
        super().__init__(
            title=title,
            play=None if play is None else names.index(play),
            sliders=[slider.state() for slider in sliders],
            places=[slider.start % len(slider.values) for slider in sliders],
            **parts,
        )

    @t.validate("places")
    def _on_the_sliders(self, proposal: Any) -> list[int]:
        lengths = [len(slider["labels"]) for slider in self.sliders]
        places = proposal["value"]
        if len(places) != len(lengths) or not all(0 <= place < n for place, n in zip(places, lengths)):
            raise t.TraitError(f"places is {places}: give one index a slider, below {lengths}")
        return places
