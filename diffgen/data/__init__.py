"""Data sets: splits into training and validation points, and anybody's own images as points."""

from diffgen.data.arrays import from_array
from diffgen.data.cifar import cifar10, cifar100
from diffgen.data.config import DataConfig, load_data
from diffgen.data.datasets import from_dataset
from diffgen.data.duplicates import Duplicates, distinct, find_duplicates
from diffgen.data.fashion_mnist import download_fashion_mnist
from diffgen.data.image_files import from_folder, from_zip
from diffgen.data.latents import encoded
from diffgen.data.opening import open_data
from diffgen.data.pool import Pool
from diffgen.data.source import Source
from diffgen.data.split import Points, Split, split_points
from diffgen.data.toy import ToyConfig, circle, manifold

__all__ = [
    "DataConfig", "Duplicates", "Points", "Pool", "Source", "Split", "ToyConfig", "cifar10", "cifar100", "circle",
    "distinct", "download_fashion_mnist", "encoded", "find_duplicates", "from_array", "from_dataset", "from_folder",
    "from_zip", "load_data", "manifold", "open_data", "split_points",
]  # fmt: skip
