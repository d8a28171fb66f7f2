"""The HTTP server: what may be asked, of whom, and how answers travel.

Start with `app`, the table of routes. `requests` carries one exchange (body in, records out,
error to status), the modules it names answer it, `process` is the life of the whole.
"""
