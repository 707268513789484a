"""The tunnel at work behind a box that ends TLS, all on this machine."""
