"""What runs in a kernel: the `%ollama` and `%%chat` magics, and how an answer is drawn in a cell.

A kernel holds nothing but conversations. Models, store and schedule are the server's, reached
through `client`; so a kernel that dies costs nothing, and one that forks shares nothing.
"""
