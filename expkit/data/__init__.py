"""Data: datasets, decoding, transforms, samplers, the loader."""
