"""Crypto: derived keys, long-term keys and sealed frames; no sockets, no clock, no threads."""
