"""Data sets: each a function that returns a `Split` into training and validation points."""

from diffgen.data.config import DataConfig, load_data
from diffgen.data.fashion_mnist import download_fashion_mnist
from diffgen.data.source import Source
from diffgen.data.split import Points, Split
from diffgen.data.toy import ToyConfig, circle, manifold

__all__ = [
    "DataConfig", "Points", "Source", "Split", "ToyConfig", "circle", "download_fashion_mnist", "load_data", "manifold",
]  # fmt: skip
