"""The store in one SQLite file: files, connections, transactions, leases, migrations, and keeping a file in order."""
