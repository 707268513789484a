"""Protocol: what the messages and frames mean; no sockets, no clock, no threads."""
