"""The operations of ``SessionManager``, one file an entity."""
