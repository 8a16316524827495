"""One client on stdin and stdout: framing, order, subscriptions, and the one door out."""
