"""The commands of `vdmini-compress`, a module each: `add` declares one, `run` carries it out."""
