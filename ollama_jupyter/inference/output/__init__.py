"""What a model's text means: thinking, tool calls, content. Fed piece by piece, does no I/O."""
