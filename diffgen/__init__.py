"""diffgen measures how diffusion models generalize: denoisers, generalization gaps, trajectories and toy models.

Everything is a `Denoiser`: D(x, sigma, labels) → the clean data. `__init__.pyi` says where each name is; it is imported
when it is first used, so that the command line starts without torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
