"""What a device computes in."""

from __future__ import annotations

import torch


def has_bf16(device: str | torch.device = "cpu") -> bool:
    """Whether the device computes in bfloat16 by instructions of its own, rather than by emulation, which is slow."""
    if torch.device(device).type == "cuda":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16") or able.get("arm_bf16"))
