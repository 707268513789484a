"""The server: what it accepts, whom it knows, where it connects to."""
