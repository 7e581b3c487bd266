"""Feature spaces: functions from images to vectors, in which errors and distances are measured.

Wherever this package takes features it takes any `FeatureMap`. DINOv2, Inception or one's own network come in as one;
the classifier that comes with the package is for small grey images, and fast enough for two cores.
"""

from diffgen.features.classifier import classifier_features
from diffgen.features.clusters import Clusters, kmeans
from diffgen.features.components import PrincipalComponents, principal_components
from diffgen.features.feature_map import FeatureMap, identity, pixels

__all__ = [
    "Clusters", "FeatureMap", "PrincipalComponents", "classifier_features", "identity", "kmeans",
    "pixels", "principal_components",
]  # fmt: skip
