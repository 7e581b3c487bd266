"""Feature spaces: functions from images to vectors, in which errors and distances are measured.

Wherever this package takes features it takes any `FeatureMap`: `dinov2` or `inception`, whose weights are a file of the
user's, or one's own function. The classifier that comes with the package is for small grey images, and fast enough for
two cores.
"""

from diffgen.features.classifier import classifier_features
from diffgen.features.clusters import Clusters, kmeans
from diffgen.features.components import PrincipalComponents, principal_components
from diffgen.features.feature_map import FeatureMap, identity, pixels
from diffgen.features.torchscript import dinov2, imagenet, inception, torchscript_features

__all__ = [
    "Clusters", "FeatureMap", "PrincipalComponents", "classifier_features", "dinov2", "identity", "imagenet",
    "inception", "kmeans", "pixels", "principal_components", "torchscript_features",
]  # fmt: skip
