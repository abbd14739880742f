"""What API, worker and command line agree on: records, job transitions, metrics, settings. No torch, no model code."""
