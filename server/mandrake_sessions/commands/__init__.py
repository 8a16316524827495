"""The maintenance commands: what they print and ask, and their exit codes. `maintenance` does the work."""
