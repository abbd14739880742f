"""The service: a REST API and a worker that serve VDMinis beside their uncompressed teachers."""
