"""GGUF headers: read lazily, checked completely, never trusted."""
