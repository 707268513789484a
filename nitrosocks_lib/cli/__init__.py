"""The command line: words to people, exit codes."""
