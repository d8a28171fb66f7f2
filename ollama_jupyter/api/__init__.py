"""The shapes that travel over HTTP, and how their bytes are read and written. Pure."""
