"""Runtime: sockets, TLS, threads and the clock."""
