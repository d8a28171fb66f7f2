"""From a request to the chunks of its answer."""
