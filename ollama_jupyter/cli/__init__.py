"""The command line: a client of the server, except for `serve`, which is the server.

A command's module is imported when the command runs, so that each starts fast.
"""
