"""``session/*``"""

from __future__ import annotations

from typing import Any

from attrs import asdict

from mandrake_sessions.handlers.context import StoreContext
from mandrake_sessions.handlers.registry import handle, handle_all
from mandrake_sessions.late_import import late_import
from mandrake_sessions.model import Export
from mandrake_sessions.protocol import methods
from mandrake_sessions.protocol.params import SessionExport, SessionUsage
from mandrake_sessions.protocol.results import UsageReport


def _joined() -> Any:
    with late_import():
        from mandrake_sessions.handlers import joined

    return joined


handle(methods.SESSION_CREATE, lambda context, params: context.manager.create_session(**params))
handle(methods.SESSION_GET, lambda context, params: context.manager.get_session(**params))
handle(methods.SESSION_LIST, lambda context, params: context.manager.list_sessions(**params, lazily=True))
handle_all(methods.SESSION_LIST, lambda params: _joined().JoinedSessions(**params))
handle(methods.SESSION_UPDATE, lambda context, params: context.manager.update_session(**params))
handle(methods.SESSION_DELETE, lambda context, params: context.manager.delete_session(**params))
handle(methods.SESSION_HISTORY, lambda context, params: context.manager.history(**params, lazily=True))
handle(methods.SESSION_SEARCH, lambda context, params: context.manager.search(**params))
handle_all(methods.SESSION_SEARCH, lambda params: _joined().JoinedSearch(**params))
handle(methods.SESSION_FORK, lambda context, params: context.manager.fork_session(**params))


def _usage(context: StoreContext, params: SessionUsage) -> UsageReport:
    wanted: Any = {**params}
    group_by = wanted.pop("group_by", None)
    if group_by is not None:
        return UsageReport(groups=context.manager.usage_by(group_by, **wanted))
    return UsageReport(**asdict(context.manager.usage(**wanted), recurse=False))


handle(methods.SESSION_USAGE, _usage)
handle_all(methods.SESSION_USAGE, lambda params: _joined().UsageOfAll(**params))


def _export(context: StoreContext, params: SessionExport) -> Export:
    # Only those who export pay for its patterns.
    with late_import():
        from mandrake_sessions.exports import export_session

    return export_session(context.manager, params["session_id"], params["format"], params.get("redact"))


handle(methods.SESSION_EXPORT, _export)
