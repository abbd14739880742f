"""The HTTP side: checks requests, keeps jobs in Redis, hands out results. Models are left to the worker."""
