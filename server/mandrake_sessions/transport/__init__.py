"""JSON-RPC over two file descriptors: framing, messages, the reader, the outbound queue.

It knows no method and no store, so a proxy or a recorder can use it alone: see ``channel.Channel``.
"""
