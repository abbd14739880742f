"""A package, so that fixtures of its scope end with it: an open Playwright keeps others from asyncio."""
