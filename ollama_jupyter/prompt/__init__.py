"""From messages to the text a model continues."""
