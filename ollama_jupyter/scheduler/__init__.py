"""Which models are loaded, with how many slots, and who may use them when."""
