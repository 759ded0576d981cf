"""Kernels and blocks that make training on a CPU several times as fast."""
