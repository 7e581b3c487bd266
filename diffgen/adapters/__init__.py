"""Other people's models as denoisers: diffusers, flow matching, EDM and EDM2, azula, k-diffusion.

Each is a module that holds the other model and speaks D(x; σ, labels). None of those libraries is imported here: a
model that is called as theirs are will do. Call `.eval()` on what you pass: an adapter leaves the training mode as it
is, and dropout makes every call another one. An adapter clips nothing, whatever the library's sampler does.

Labels are where glue fails in silence, so nothing is guessed. A network without classes (`n_labels` is 0, or the
network says so) ignores labels, for labelled data may be denoised by it. A network of which that is not known refuses
them. In one with classes, rows without one (−1, or labels None) need `null_label`, the index by which it means "none".
"""

from diffgen.adapters.adapter import Adapter
from diffgen.adapters.azula import from_azula
from diffgen.adapters.diffusers import from_diffusers
from diffgen.adapters.edm import from_edm, load_edm_pickle
from diffgen.adapters.k_diffusion import from_k_diffusion
from diffgen.adapters.velocity import from_velocity

__all__ = [
    "Adapter", "from_azula", "from_diffusers", "from_edm", "from_k_diffusion", "from_velocity", "load_edm_pickle",
]  # fmt: skip
