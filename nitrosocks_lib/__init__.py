"""NitroSocks: an end-to-end encrypted tunnel inside TLS that it does not have to trust."""

__version__ = "0.1.0"
