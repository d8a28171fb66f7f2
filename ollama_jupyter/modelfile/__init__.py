"""The Modelfile: its text, its commands, and the create request they make. Pure."""
