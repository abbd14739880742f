"""The compression of a VAE's decoder: layers out, channels pruned, healed against the original, measured beside it."""
