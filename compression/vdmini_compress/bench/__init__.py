"""What a compressed model is worth in time and memory, measured beside its teacher and beside plain diffusers."""
