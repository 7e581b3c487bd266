"""Networks of EDM and EDM2: denoisers already, but for one-hot labels and their precision."""

from __future__ import annotations

import inspect
import pickle
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from diffgen.adapters.adapter import Adapter, Network, network_dtype, output_of, time_dtype
from diffgen.denoiser import NO_LABEL


def from_edm(net: Network, n_labels: int | None = None) -> Adapter:
    """A preconditioned network of EDM or EDM2 as a denoiser: D(x; σ, c) = net(x, σ, onehot(c)).

    Labels become one-hot rows, (B, n_labels). A row without a class becomes zeros, as both take it. σ is (B,). x, σ and
    labels are float32 at least, whatever the weights are, and a network that takes `force_fp32` is told to compute in
    it: by default they compute in float16 on a GPU.

    EDM2's large models denoise latents: then x is latents, normalized as in their training.

    Args:
        net: called `net(x, sigma)`, or `net(x, sigma, class_labels)` if it has classes.
        n_labels: number of classes; 0 ignores labels, None is the `label_dim` of the network.

    Raises:
        ValueError: n_labels is not the network's label_dim, and what `Adapter` raises.

    Source: Karras et al. 2022, *Elucidating the Design Space of Diffusion-Based Generative Models*, arXiv 2206.00364,
    eq. 7; Karras et al. 2024, *Analyzing and Improving the Training Dynamics of Diffusion Models*, arXiv 2312.02696.
    """
    own = getattr(net, "label_dim", None)
    if n_labels is not None and own is not None and n_labels != own:
        raise ValueError(f"n_labels is {n_labels}, but label_dim of the network is {own}: leave n_labels out")
    return EDMAdapter(net, own if n_labels is None else n_labels)


class EDMAdapter(Adapter):
    """What `from_edm` returns; its arguments are described there."""

    def __init__(self, network: Network, n_labels: int | None):
        super().__init__(network, n_labels)
        called = network.forward if isinstance(network, nn.Module) else network
        self.force_fp32 = "force_fp32" in inspect.signature(called).parameters

    def nothing(self, classes: Tensor) -> Tensor:
        """−1 stays: it becomes a row of zeros."""
        return classes

    def denoised(self, x: Tensor, sigma: Tensor, classes: Tensor | None) -> Tensor:
        """net(x, σ, onehot(c)), in float32 or more."""
        dtype, labels = time_dtype(network_dtype(self.network, x)), []
        if classes is not None:
            one_hot = F.one_hot(classes.clamp(min=0), self.n_labels or 0).to(dtype)
            labels = [one_hot * (classes != NO_LABEL)[:, None]]
        options = {"force_fp32": True} if self.force_fp32 else {}
        return output_of(self.network(x.to(dtype), sigma.flatten().to(dtype), *labels, **options), x)


def load_edm_pickle(path: str | Path, trust_code: bool = False, *, n_labels: int | None = None) -> Adapter:
    """The network in a file of EDM or EDM2 as a denoiser, in evaluation mode, its weights in float32.

    These files are pickles that hold the source code of the network. To open one is to run it: a pickle can run any
    program as you. They also import modules of the repository that made them, whose folder must be on PYTHONPATH.

    Args:
        path: a .pkl file. Of a dict the entry "ema" is taken, or "net".
        trust_code: that you trust whoever made the file.
        n_labels: as in `from_edm`.

    Raises:
        ValueError: trust_code is False, or there is no network in the file.
        ModuleNotFoundError: the file needs a module that Python does not find.
    """
    if trust_code is not True:
        raise ValueError(
            f"trust_code is {trust_code}: {path} is a pickle, and a pickle can run any program as you; "
            "give trust_code=True if you trust whoever made it"
        )
    with Path(path).open("rb") as file:
        try:
            held = pickle.load(file)
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f"{path} needs the module {error.name!r}: put the folder of the repository that made the file "
                "(NVlabs/edm or NVlabs/edm2) on PYTHONPATH",
                name=error.name,
            ) from error
    return from_edm(_network_in(held, path).float().eval().requires_grad_(False), n_labels)


def _network_in(held: Any, path: str | Path) -> nn.Module:
    network, what = held, type(held).__name__
    if isinstance(held, dict):
        network, what = held.get("ema") or held.get("net"), f"the entries {sorted(map(str, held))}"
    if not isinstance(network, nn.Module):
        raise ValueError(f"{path} holds {what}: a network is looked for in 'ema' and 'net'")
    return network
