"""Tests of the modelfile room."""
