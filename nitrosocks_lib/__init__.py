"""NitroSocks: an end-to-end tunnel through TLS that cannot be trusted."""

__version__ = "0.1.0"
