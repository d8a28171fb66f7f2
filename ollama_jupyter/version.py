"""The package's version: the one place that says it, at the bottom of all rooms."""

__version__ = "0.1.0"
