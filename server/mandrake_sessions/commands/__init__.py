"""The commands that keep a store in good order: what they print, ask, and end with. What they do is `maintenance`."""
