"""Runs cases of the behaviour contract: `python -m tests.contract DIR`."""
