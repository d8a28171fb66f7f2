"""One HTTP/1.1 exchange over TCP or a Unix socket: request out, response in, cancel by close."""
