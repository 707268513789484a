"""Face: the command line, its files and its words to people."""
