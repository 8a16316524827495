"""Generators of code and the public meta-schema, on what docs/ and rpc.discover give."""
