"""Metrics of memorization and generalization. Each takes any `Denoiser` or plain tensors."""
