"""What talks to a server: calls, a blocking client, finding or starting a server, conversations.

Nothing here holds a model, a store or a schedule; whatever is asked goes over HTTP.
"""
