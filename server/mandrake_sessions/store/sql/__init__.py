"""The SQL of the entities, once for every store: it runs on whatever is a ``Sql``."""
