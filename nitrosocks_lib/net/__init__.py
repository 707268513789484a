"""Sockets, TLS, waiting, time; it knows nothing of the protocol."""
