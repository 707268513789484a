"""Facts: every number, wire byte and error."""
