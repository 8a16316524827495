"""A conversation as one page of HTML that needs nothing else, for people to look at.

What goes into it is either ``Markup``, made here, or text, which markupsafe escapes; types keep the two apart. Markdown
alone becomes elements, and a sanitiser looks at these. docs/export.md describes the page and its bounds.
"""

from mandrake_sessions.exports.page.page import parts

__all__ = ["parts"]
