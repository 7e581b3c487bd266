"""A number with what chance may have done to it: its standard error, or an interval."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from statistics import NormalDist
from typing import Any, NamedTuple, NoReturn, SupportsFloat

import numpy as np
import torch
from torch import Tensor

NUMPY_ARITHMETIC = {
    np.add: operator.add,
    np.subtract: operator.sub,
    np.multiply: operator.mul,
    np.true_divide: operator.truediv,
    np.power: operator.pow,
    np.float_power: operator.pow,
    np.remainder: operator.mod,
    np.floor_divide: operator.floordiv,
}
TORCH_ARITHMETIC = frozenset(
    getattr(torch.Tensor, name)
    for name in (
        *("add", "sub", "mul", "div", "true_divide", "pow", "remainder", "floor_divide"),
        *("__add__", "__sub__", "__mul__", "__truediv__", "__pow__", "__mod__", "__floordiv__"),
    )
)


class Interval(NamedTuple):
    """A number and the interval that holds it with a stated confidence."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4g} ({self.low:.4g} to {self.high:.4g})"


class Estimate(float):
    """A float that knows its standard error and its n.

    It does not lose the error silently. Adding and multiplying by plain numbers takes the error along. What needs to
    know how two estimates depend on each other is refused: write `a.minus(b)` for independent ones, a paired difference
    for those over the same images, and `float(a)` where the error is meant to go. Comparing, printing and drawing work
    as with any number.

    Attributes:
        stderr: standard error, in the units of the number.
        n: how many independent observations it rests on.
    """

    stderr: float
    n: int

    def __new__(cls, value: SupportsFloat, stderr: SupportsFloat, n: int) -> Estimate:
        """Make the number."""
        self = super().__new__(cls, float(value))
        self.stderr, self.n = float(stderr), int(n)
        return self

    @classmethod
    def mean(cls, values: Tensor) -> Estimate:
        """The mean of independent values, (n,), with the standard error s / √n.

        Raises:
            ValueError: fewer than two values.
        """
        if values.ndim != 1 or len(values) < 2:
            raise ValueError(f"values has shape {tuple(values.shape)}: a mean with an error needs two or more, (n,)")
        values = values.double()
        return cls(values.mean(), values.std() / len(values) ** 0.5, len(values))

    @classmethod
    def proportion(cls, hits: Tensor) -> Estimate:
        """The share of independent observations that are true, (n,) boolean.

        Its standard error is √(p̃ (1 − p̃) / ñ) with p̃ = (k + 2) / (n + 4) and ñ = n + 4, for k hits in n: the naive
        √(p (1 − p) / n) claims certainty when k is 0 or n. Intervals from it cover what they promise, and near 0 and 1
        more than that.

        Source: Agresti and Coull, *Approximate is better than "exact" for interval estimation of binomial
        proportions*, The American Statistician 52, 1998.

        Raises:
            ValueError: no observations.
        """
        n = hits.numel()
        if not n:
            raise ValueError("hits is empty: a share needs at least one observation")
        k = int(hits.sum())
        p = (k + 2) / (n + 4)
        return cls(k / n, (p * (1 - p) / (n + 4)) ** 0.5, n)

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """The normal interval, value ∓ z · stderr."""
        z = NormalDist().inv_cdf((1 + confidence) / 2)
        return float(self) - z * self.stderr, float(self) + z * self.stderr

    def with_interval(self, confidence: float = 0.95) -> Interval:
        """The number and its normal interval."""
        return Interval(float(self), *self.interval(confidence))

    def t_interval(self, confidence: float = 0.95) -> Interval:
        """The number with Student's interval, value ∓ t · stderr with t at n − 1 degrees of freedom: for few values."""
        from scipy.stats import t  # slow to import, and few need it

        reach = float(t.ppf((1 + confidence) / 2, self.n - 1)) * self.stderr
        return Interval(float(self), float(self) - reach, float(self) + reach)

    def __add__(self, number: float) -> Estimate:
        return self._plain(number, "+", float(self) + float(number), 1)

    def __sub__(self, number: float) -> Estimate:
        return self._plain(number, "-", float(self) - float(number), 1)

    def __mul__(self, number: float) -> Estimate:
        return self._plain(number, "*", float(self) * float(number), float(number))

    def __truediv__(self, number: float) -> Estimate:
        return self._plain(number, "/", float(self) / float(number), 1 / float(number))

    def __radd__(self, number: float) -> Estimate:
        return self + number

    def __rsub__(self, number: float) -> Estimate:
        return -self + number

    def __rmul__(self, number: float) -> Estimate:
        return self * number

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """NumPy's numbers on the left leave arithmetic to this class; all else sees a float."""
        if ufunc in NUMPY_ARITHMETIC:
            return NUMPY_ARITHMETIC[ufunc](*(x if isinstance(x, Estimate) else float(x) for x in inputs))
        return getattr(ufunc, method)(*(float(x) if isinstance(x, Estimate) else x for x in inputs), **kwargs)

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] = {}
    ) -> Any:
        """So do torch's."""
        if func in TORCH_ARITHMETIC:
            return NotImplemented
        return func(
            *(float(x) if isinstance(x, Estimate) else x for x in args),
            **{key: float(x) if isinstance(x, Estimate) else x for key, x in kwargs.items()},
        )

    def __neg__(self) -> Estimate:
        return self * -1

    def __pos__(self) -> Estimate:
        return self

    def __abs__(self) -> Estimate:
        return Estimate(abs(float(self)), self.stderr, self.n)

    def _plain(self, number: float, sign: str, value: float, factor: float) -> Estimate:
        """An estimate, moved or scaled by a number that is known."""
        if isinstance(number, Estimate):
            raise TypeError(
                f"{self!r} {sign} {number!r}: the error depends on how the two do; take a.minus(b) for independent "
                "ones, a paired difference for the same images, or float(a) without an error"
            )
        return Estimate(value, abs(factor) * self.stderr, self.n)

    def _refuse(self, *_: object) -> NoReturn:
        raise TypeError(f"{self!r} would lose its error here: take float(…) of it if that is meant")

    __pow__ = __rpow__ = __rtruediv__ = __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = _refuse
    __divmod__ = __rdivmod__ = __round__ = _refuse

    def minus(self, other: Estimate) -> Estimate:
        """The difference to an estimate that is independent of this one; its n is the smaller of both."""
        stderr = (self.stderr**2 + other.stderr**2) ** 0.5
        return Estimate(float(self) - float(other), stderr, min(self.n, other.n))

    def format(self, spec: str = ".3f") -> str:
        """The number and its standard error as text, both to the digits of a format specification."""
        return f"{float(self):{spec}} ± {self.stderr:{spec.lstrip('+')}}"

    def __repr__(self) -> str:
        return f"{float(self):.4g} ± {self.stderr:.2g} (n = {self.n})"

    def __getnewargs__(self) -> tuple[float, float, int]:  # type: ignore[override]
        return float(self), self.stderr, self.n
