"""The heart, the same for both sides: one session on one connection after another."""
