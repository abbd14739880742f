"""Third-party checkpoints become teachers: what `vdmini-compress import` does."""
