"""What a model's name resolves to: its layers, its capabilities, and which template it uses."""
