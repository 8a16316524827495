"""How fast, how small and how soon, beside peers in the same run: ``python -m benchmarks``. Nothing here asserts."""
