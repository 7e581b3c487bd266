"""Data sets: each a function that returns a `Split` into training and validation points."""

from diffgen.data.fashion_mnist import download_fashion_mnist
from diffgen.data.load import DataConfig, load_data
from diffgen.data.split import Points, Split

__all__ = ["DataConfig", "Points", "Split", "download_fashion_mnist", "load_data"]
