"""The client: its sessions, and what it puts into them."""
