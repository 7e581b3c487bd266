"""Images that a set holds twice, or that two sets share: to the bit, or nearly.

A validation image that was trained on is no validation image, and a training image that is there ten times is copied
ten times as soon.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from diffgen.data.pool import ROWS_AT_ONCE
from diffgen.data.split import Points
from diffgen.features import FeatureMap

NEIGHBOURS = 8
RATIO = 1 / 3
"""Near is nearer than this share of the distance to the eighth neighbour: see `find_duplicates`."""
PAIRS_AT_ONCE = 2**23
"""How many distances are held in memory at a time (float32: 32 MB)."""

CANCELS = 1e-4
"""A squared distance below this share of the points' squares has lost its digits in float32."""


@dataclass(frozen=True, eq=False)
class Duplicates:
    """What `find_duplicates` found.

    Attributes:
        exact: pairs of rows that are equal to the bit, (K, 2), int64: within a set (its first place, a later place),
            across two (the row of a where it is first, the row of b).
        near: pairs of rows that are nearly equal, (L, 2), the nearest for their neighbourhood first; within a set the
            smaller number first, across two (row of a, row of b). No pair of exact duplicates is among them.
        ratio: how near: the distance of each of these pairs as a share of that to the k-th neighbour, (L,).
        expected: how many near pairs chance would give if there were no duplicates: points that fill a manifold of
            `dimension` evenly on the scale of k neighbours.
        dimension: of that manifold, estimated from the same neighbours; NaN if there are too few points.
        n: how many rows were searched for duplicates, those of b if there are two sets.
    """

    exact: Tensor
    near: Tensor
    ratio: Tensor
    expected: float
    dimension: float
    n: int

    @property
    def rows(self) -> Tensor:
        """The rows, of b if there are two sets, that are duplicates of another: the later ones of pairs, sorted."""
        return torch.cat([self.exact, self.near])[:, 1].unique()

    def __str__(self) -> str:
        return (
            f"{len(self.exact)} exact and {len(self.near)} near duplicates among {self.n} points "
            f"({self.expected:.2g} near ones are expected by chance)"
        )


@torch.no_grad()
def find_duplicates(
    a: Points | Tensor,
    b: Points | Tensor | None = None,
    *,
    features: FeatureMap | None = None,
    ratio: float = RATIO,
    k: int = NEIGHBOURS,
) -> Duplicates:
    """Exact and near duplicates within a set, or of the points of b in a.

    Exact: all entries are equal. Near: the distance d is below `ratio` times the distance d_k to the k-th neighbour of
    the point, in the same set or in a. The scale is the point's own, since images of little contrast lie close to each
    other without being copies. Where points are spread evenly in m dimensions, each of the k − 1 nearer neighbours is
    as near as that with probability ratio^m; so among N points chance gives N (k − 1) ratio^m near pairs, half of that
    if nearness is mutual. For ratio 1/3 and the 10 to 15 dimensions of small images that is 1 in 10⁴ to 10⁶ points.
    `Duplicates` has the number for the data at hand, with m estimated by maximum likelihood: in few dimensions there
    are many near pairs by chance, and none of them says anything.

    A family of more than k near copies hides itself, for then the k-th neighbour is one, too; raise k for those. A
    shifted or mirrored image is far away in pixels; `features` may know better.

    Cost O(N M d). Memory: a copy of the points in float32, and 32 MB for distances.

    Args:
        a: points, (N, *), or `Points`.
        b: other points, (M, *); None looks within a.
        features: where distances are measured; None is the data space.
        ratio: the threshold for d / d_k, between 0 and 1.
        k: whose distance is the scale, 2 or more.

    Raises:
        ValueError: points of different shapes, k below 2, or a ratio outside of (0, 1).

    Source: Levina and Bickel 2004, *Maximum likelihood estimation of intrinsic dimension*; MacKay and Ghahramani's
    comment on it, 2005 (averages of inverses).
    """
    if not 0 < ratio < 1:
        raise ValueError(f"ratio is {ratio:g}: the threshold for d/d_k is between 0 and 1")
    if k < 2:
        raise ValueError(f"k is {k}: the scale is the distance to another neighbour than the nearest, give 2 or more")
    hashes = [row_hashes(points) for points in (a, b) if points is not None]
    first = _first_places(hashes[0])
    if b is None:
        copies = [(first[h], j) for j, h in enumerate(hashes[0]) if first[h] != j]
    else:
        copies = [(first[h], j) for j, h in enumerate(hashes[1]) if h in first]
    references = torch.tensor(sorted(first.values()))
    known = {j for _, j in copies}
    asked = (
        references
        if b is None
        else torch.tensor([j for j in range(len(hashes[1])) if j not in known], dtype=torch.long)
    )
    x = _vectors(a, references, features)
    q = x if b is None else _vectors(b, asked, features)
    if len(q) and q.shape[1] != x.shape[1]:
        raise ValueError(f"a has points of {x.shape[1]} entries and b of {q.shape[1]}: give points of one shape")
    pairs, ratios, dimension = _near(q, x, ratio, k, within=b is None)
    pairs = torch.stack([references[pairs[:, 0]], asked[pairs[:, 1]]], 1) if len(pairs) else pairs
    n = len(hashes[-1])
    expected = 0.0 if dimension != dimension else len(q) * (k - 1) * ratio**dimension
    return Duplicates(torch.tensor(copies).reshape(-1, 2).long(), pairs, ratios, expected, dimension, n)


def exact(a: Points | Tensor, b: Points | Tensor) -> tuple[Tensor, Tensor]:
    """Rows to leave out so that no point is there twice: of a set and of another that is to share none with it.

    Returns:
        Rows of a that are in a before, and rows of b that are in a, or in b before; int64, ascending.
    """
    in_a, in_b = row_hashes(a), row_hashes(b)
    first_a, first_b = _first_places(in_a), _first_places(in_b)
    repeated = [i for i, h in enumerate(in_a) if first_a[h] != i]
    shared = [j for j, h in enumerate(in_b) if h in first_a or first_b[h] != j]
    return torch.tensor(repeated, dtype=torch.long), torch.tensor(shared, dtype=torch.long)


def near(a: Points | Tensor, b: Points | Tensor, *, features: FeatureMap | None = None) -> Tensor:
    """Pairs of a row of a and a row of b that are nearly equal, but not equal, (K, 2): see `find_duplicates`."""
    return find_duplicates(a, b, features=features).near


def distinct(points: Points) -> Points:
    """The points without exact repetitions: of equal ones the first stays."""
    return points[torch.tensor(sorted(_first_places(row_hashes(points)).values()))]


def row_hashes(points: Points | Tensor) -> list[bytes]:
    """A hash of each row's values as float32, 16 bytes. −0 is 0."""
    hashes: list[bytes] = []
    for start in range(0, len(points), ROWS_AT_ONCE):
        x = points[start : start + ROWS_AT_ONCE]
        rows = ((x if isinstance(x, Tensor) else x.x).flatten(1).float() + 0.0).cpu().contiguous().numpy()
        hashes += [hashlib.blake2b(row.data, digest_size=16).digest() for row in rows]
    return hashes


def _first_places(hashes: list[bytes]) -> dict[bytes, int]:
    first: dict[bytes, int] = {}
    for i, h in enumerate(hashes):
        first.setdefault(h, i)
    return first


def _vectors(points: Points | Tensor, rows: Tensor, features: FeatureMap | None) -> Tensor:
    """Points, or their features, as (N, d), float32."""
    parts = []
    for index in rows.split(ROWS_AT_ONCE):
        x = points[index]
        x = x if isinstance(x, Tensor) else x.x
        parts.append((x if features is None else features(x)).flatten(1).float().cpu())
    return torch.cat(parts) if parts else torch.empty(0, 0)


def _near(q: Tensor, x: Tensor, ratio: float, k: int, within: bool) -> tuple[Tensor, Tensor, float]:
    """Near pairs (row of x, row of q), their ratios, and the dimension."""
    k = min(k, len(x) - within)
    nothing = torch.zeros(0, 2, dtype=torch.long), torch.zeros(0)
    if k < 2 or not len(q):
        return *nothing, float("nan")
    distance, index = _neighbours(q, x, k, within)
    inner, scale = distance[:, :-1], distance[:, -1:]
    share = inner / scale.clamp(min=torch.finfo(inner.dtype).tiny)
    logs = -share[share > 0].log()
    dimension = float(1 / logs.mean()) if len(logs) and logs.mean() > 0 else float("nan")
    row, column = ((share < ratio) | (inner == 0)).nonzero().T
    pairs, ratios = torch.stack([index[row, column], row], 1), share[row, column]
    order = ratios.argsort(stable=True)
    pairs, ratios = pairs[order], ratios[order]
    if within and len(pairs):
        seen: dict[tuple[int, int], float] = {}
        for (i, j), r in zip(pairs.tolist(), ratios.tolist()):
            seen.setdefault((min(i, j), max(i, j)), r)
        pairs, ratios = torch.tensor(list(seen)), torch.tensor(list(seen.values()))
    return pairs, ratios, dimension


def _neighbours(q: Tensor, x: Tensor, k: int, within: bool) -> tuple[Tensor, Tensor]:
    """The k nearest rows of x to each row of q, but itself: distances, (Q, k), float64, ascending; and their numbers.

    They are chosen by ‖q‖² − 2 q·x + ‖x‖² in float32, about the mean so that few digits cancel, or by differences where
    many would; their distances are computed from the differences.
    """
    mean = x.mean(0)
    x = x.sub_(mean)  # both are copies
    q = x if within else q.sub_(mean)
    squares = x.square().sum(1)
    distances, indices = [], []
    for start in range(0, len(q), max(1, PAIRS_AT_ONCE // len(x))):
        rows = q[start : start + max(1, PAIRS_AT_ONCE // len(x))]
        own = start + torch.arange(len(rows)) if within else None
        distance, index = _winners(rows, x, torch.addmm(squares, rows, x.T, alpha=-2), own, k)
        unsure = distance[:, -1].square() < CANCELS * (rows.square().sum(1) + squares.max())
        if unsure.any():
            few = rows[unsure]
            compared = torch.cdist(few, x, compute_mode="donot_use_mm_for_euclid_dist")
            own = own[unsure] if own is not None else None
            distance[unsure], index[unsure] = _winners(few, x, compared, own, k)
        distances.append(distance)
        indices.append(index)
    return torch.cat(distances), torch.cat(indices)


def _winners(rows: Tensor, x: Tensor, compared: Tensor, own: Tensor | None, k: int) -> tuple[Tensor, Tensor]:
    """The k nearest by the numbers in `compared`, (n, N), but for a row's own number; sorted by their distances."""
    if own is not None:
        compared[torch.arange(len(rows)), own] = torch.inf
    index = compared.topk(k, dim=1, largest=False).indices
    distance = torch.stack([(rows - x[i]).double().square().sum(1).sqrt() for i in index.T], 1)
    distance, order = distance.sort(dim=1, stable=True)
    return distance, index.gather(1, order)
