"""A process that holds one model: how it is spawned and spoken to, and what runs inside it.

Other rooms see `wire`, `client` and `process`; everything else is the child's.
"""
