"""The server of one client: calls, their order, subscriptions, LSP."""
