"""Work on a store as a whole, for programs. Nothing here prints or asks.

``database`` is always the path of the file. ``busy_timeout`` is how many seconds to wait for other processes' locks.
"""

from mandrake_sessions.maintenance.backup import Backup, Salvaged, back_up, salvage
from mandrake_sessions.maintenance.checkup import check_up
from mandrake_sessions.maintenance.findings import Finding, Level
from mandrake_sessions.maintenance.migration import Schema, migrate, schema
from mandrake_sessions.maintenance.prune import Pruned, prune
from mandrake_sessions.maintenance.repair import Repair, repair
from mandrake_sessions.maintenance.restore import Restored, restore
from mandrake_sessions.store.sqlite.copying import Progress
from mandrake_sessions.store.sqlite.filesystem import check_links
from mandrake_sessions.store.sqlite.reading import require_file

__all__ = [
    "Backup",
    "Finding",
    "Level",
    "Progress",
    "Pruned",
    "Repair",
    "Restored",
    "Salvaged",
    "Schema",
    "back_up",
    "check_links",
    "check_up",
    "migrate",
    "prune",
    "repair",
    "require_file",
    "restore",
    "salvage",
    "schema",
]
