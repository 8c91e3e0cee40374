"""expkit: config-driven experiments for image models on PyTorch."""
