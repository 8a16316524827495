"""Stores: what the rules need of one (``interface``), the SQL of the entities (``sql``), the store in a file
(``sqlite``), and which of them a name means (``engines``)."""
