"""The worked exchanges of docs/protocol/, played with real servers."""
