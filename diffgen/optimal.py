"""Denoisers in closed form: of a finite training set, of a Gaussian, and the error-prone one of the toy model."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from diffgen.denoiser import NO_LABEL, expand, expand_labels

LOGITS_AT_ONCE = 2**22
"""How many x–point pairs are held in memory at a time (float64: 32 MB)."""

ENTRIES_AT_ONCE = 2**23
"""How many entries of points are held in float64 at a time (64 MB)."""


class OptimalDenoiser(nn.Module):
    r"""The denoiser that minimizes the training error of a finite training set exactly: it recalls the training set.

    y*(x, σ) = Σ_i w_i y_i,  w = softmax_i(−‖x − y_i‖² / 2σ²)

    It is the posterior mean of y given x when y is uniform over the training points. As σ → 0 it returns the training
    point nearest to x, as σ → ∞ the mean of the training set: a diffusion model that reached it could only copy.

    Logits are computed in float64 as (x·y_i − ‖y_i‖²/2) / σ². In float32 the two terms lose as many digits as σ² is
    small beside ‖y‖², which at σ = 0.2 on 28×28 images moves the result by 1e-3. Points pass in chunks with a running
    log-sum-exp, so memory stays bounded for any number of them. Cost: O(B N d) multiplications.

    Args:
        points: the training set, (N, *), N ≥ 1.
        labels: class of each point, (N,), or None. Called with labels, a row is denoised with the points of its class
            only; called with −1 or without labels, with all points.

    Raises:
        ValueError: no points, or labels that are not one integer a point. On a call: a class that no point has, or x of
            another shape than the points.

    Source: Karras et al. 2022, arXiv 2206.00364, App. B.3, eq. 57.
    """

    points: Tensor
    labels: Tensor | None

    def __init__(self, points: Tensor, labels: Tensor | None = None):
        super().__init__()
        if points.ndim < 2 or not len(points):
            raise ValueError(f"points has shape {tuple(points.shape)}: give (N, *) with N >= 1")
        self.register_buffer("points", points)
        self.register_buffer("labels", None if labels is None else expand_labels(labels, points))

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return y*(x, σ), (B, *)."""
        return self.posterior(x, sigma, labels)[0]

    def posterior(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return y*(x, σ), (B, *), and the largest of the posterior weights, max_i w_i(x), (B,)."""
        if x.shape[1:] != self.points.shape[1:]:
            raise ValueError(
                f"x has shape {tuple(x.shape)}: the training points are {tuple(self.points.shape[1:])} each"
            )
        sigma, classes = expand(sigma, x).flatten(), expand_labels(labels, x)
        own = None if labels is None else self.labels
        if own is not None:
            unknown = classes[(classes != NO_LABEL) & ~torch.isin(classes, own)]
            if len(unknown):
                raise ValueError(f"labels holds class {unknown[0].item()}: no training point has it")
        if not len(x):
            return x.clone(), x.new_zeros(0)
        rows = max(1, min(LOGITS_AT_ONCE // min(len(self.points), 4096), ENTRIES_AT_ONCE // x[0].numel()))
        parts = zip(x.flatten(1).split(rows), sigma.split(rows), classes.split(rows))
        mean, weight = zip(*(self._posterior(*part, own) for part in parts))
        return torch.cat(mean).reshape(x.shape).to(x.dtype), torch.cat(weight).to(x.dtype)

    def _posterior(self, x: Tensor, sigma: Tensor, classes: Tensor, own: Tensor | None) -> tuple[Tensor, Tensor]:
        x, precision = x.double(), sigma.double().pow(-2)[:, None]
        # The running log-sum-exp: everything below is relative to the largest logit so far. It starts finite, so that
        # a chunk without a point of the row's class (all logits −∞) leaves zeros and no NaN. The result does not
        # depend on it, so no gradient flows through it.
        top = x.new_full((len(x), 1), -1e300)
        total, mean = torch.zeros_like(top), torch.zeros_like(x)
        chunk = max(1, min(LOGITS_AT_ONCE // len(x), ENTRIES_AT_ONCE // x.shape[1]))
        for start in range(0, len(self.points), chunk):
            y = self.points[start : start + chunk].flatten(1).double()
            half_squares = torch.linalg.vector_norm(y, dim=1).square() / 2
            logits = torch.addmm(half_squares, x, y.T, beta=-1) * precision
            if own is not None:
                other = own[start : start + chunk] != classes[:, None]
                logits.masked_fill_(other & (classes[:, None] != NO_LABEL), -math.inf)
            new_top = torch.maximum(top, logits.detach().amax(1, keepdim=True))
            weights = logits.sub_(new_top).exp_()
            decay = (top - new_top).exp()
            total = total * decay + weights.sum(1, keepdim=True)
            mean = torch.addmm(mean * decay, weights, y)
            top = new_top
        return mean / total, 1 / total[:, 0]


class GaussianDenoiser(nn.Module):
    """The posterior mean for Gaussian data, y ~ N(m, C): the Wiener filter, linear in x.

    D(x, σ) = m + C (C + σ² I)⁻¹ (x − m)

    Solved once by an eigendecomposition of C in float64; a call costs two matrix products.

    Args:
        mean: m, of the shape of one data point, (*).
        covariance: C, symmetric and positive semidefinite, (d, d) with d the number of entries of m.

    Raises:
        ValueError: C does not fit m, is not symmetric, or has a negative eigenvalue. On a call: x does not fit m.

    Source: Wiener 1949; in diffusion models, Wang and Vastola 2023, arXiv 2311.10892.
    """

    mean: Tensor
    variances: Tensor
    axes: Tensor

    def __init__(self, mean: Tensor, covariance: Tensor):
        super().__init__()
        d = mean.numel()
        if covariance.shape != (d, d):
            raise ValueError(f"covariance has shape {tuple(covariance.shape)}: a mean of {d} entries needs ({d}, {d})")
        c = covariance.double()
        if not torch.allclose(c, c.T, atol=1e-6 * float(c.abs().max())):
            raise ValueError("covariance is not symmetric: pass (C + C.T) / 2")
        variances, axes = torch.linalg.eigh((c + c.T) / 2)
        if variances[0] < -1e-6 * variances[-1].abs():
            raise ValueError(f"covariance has the eigenvalue {variances[0]:g}: variances are not negative")
        self.register_buffer("mean", mean)
        self.register_buffer("variances", variances.clamp(min=0))
        self.register_buffer("axes", axes)

    @classmethod
    def fit(cls, points: Tensor) -> GaussianDenoiser:
        """The Gaussian with the mean and the (unbiased) covariance of the points, (N, *), N ≥ 2."""
        if points.ndim < 2 or len(points) < 2:
            raise ValueError(f"points has shape {tuple(points.shape)}: a covariance needs (N, *) with N >= 2")
        return cls(points.mean(0), torch.cov(points.flatten(1).double().T).reshape(points[0].numel(), -1))

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return D(x, σ), (B, *). Labels are accepted and ignored: there is one Gaussian."""
        if x.shape[1:] != self.mean.shape:
            raise ValueError(f"x has shape {tuple(x.shape)}: the mean is {tuple(self.mean.shape)}")
        noise = expand(sigma, x).double().reshape(-1, 1).square()
        # In float64 even after a `.float()` of a module that holds this one
        mean, axes, variances = self.mean.double().flatten(), self.axes.double(), self.variances.double()
        shrunk = (x.double().flatten(1) - mean) @ axes * (variances / (variances + noise))
        return (mean + shrunk @ axes.T).reshape(x.shape).to(x.dtype)


class ErrorProne(nn.Module):
    """The denoiser of the toy model: optimal up to a model error δ.

    y_δ(x, σ) = (σ² y*(x, √(σ² + δ²)) + δ² x) / (σ² + δ²)

    It is exactly the posterior mean of the training set blurred by N(0, δ²): a model that cannot tell a training point
    from a place a distance δ away. δ = 0 is the optimal denoiser.

    Args:
        points: the training set, (N, *).
        delta: the model error δ ≥ 0, in units of the data.
        labels: class of each point, (N,), or None.

    Raises:
        ValueError: delta is negative, and what `OptimalDenoiser` raises.

    Source: Kaiser and Kollmann 2026, arXiv 2603.13419, the toy model.
    """

    def __init__(self, points: Tensor, delta: float, labels: Tensor | None = None):
        super().__init__()
        if not 0 <= delta < math.inf:
            raise ValueError(f"delta is {delta:g}: a model error is finite and not negative")
        self.optimal = OptimalDenoiser(points, labels)
        self.delta = float(delta)

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return y_δ(x, σ), (B, *)."""
        sigma = expand(sigma, x)
        blurred = (sigma.square() + self.delta**2).sqrt()
        recall = (sigma / blurred).square()
        return recall * self.optimal(x, blurred.flatten(), labels) + (1 - recall) * x
