"""The only part that sees sqlite3: files, connections, transactions, migrations, and the SQL of each entity."""
