"""Wrappers of k-diffusion: denoisers already, but for labels by keyword."""

from __future__ import annotations

from torch import Tensor

from diffgen.adapters.adapter import Adapter, Network, network_dtype, output_of


def from_k_diffusion(
    model: Network,
    *,
    label_name: str = "class_cond",
    n_labels: int | None = None,
    null_label: int | None = None,
) -> Adapter:
    """A model that samplers of k-diffusion take as a denoiser: D(x; σ, c) = model(x, σ, class_cond=c), σ (B,).

    All its wrappers are called so, those of networks in discrete time as well. What those do outside of their noise
    levels is up to them.

    Args:
        model: called `model(x, sigma)`, or with labels under their keyword if it has classes.
        label_name: that keyword.
        n_labels: number of classes; 0 ignores labels, None refuses them.
        null_label: the class that stands for none: in networks that k-diffusion trained with dropped labels it is the
            number of classes. None refuses rows without a class.

    Raises:
        ValueError: what `Adapter` raises.
    """
    return KDiffusionAdapter(model, label_name, n_labels, null_label)


class KDiffusionAdapter(Adapter):
    """What `from_k_diffusion` returns; its arguments are described there."""

    def __init__(self, network: Network, label_name: str, n_labels: int | None, null_label: int | None):
        super().__init__(network, n_labels, null_label)
        self.label_name = label_name

    def denoised(self, x: Tensor, sigma: Tensor, classes: Tensor | None) -> Tensor:
        """model(x, σ, class_cond=c)."""
        dtype, labels = network_dtype(self.network, x), {} if classes is None else {self.label_name: classes}
        return output_of(self.network(x.to(dtype), sigma.flatten().to(dtype), **labels), x)
