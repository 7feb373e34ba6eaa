"""Which text of the SPIFFE standards this implements. Clauses: STAB-01."""

from typing import Final

STANDARDS: Final = "2026-07-01"
"""The date of the text; what names an incubating standard in a setting names it by this."""
STANDARDS_COMMIT: Final = "665a28f3253ecdce59f26f3ef29c0d6408b37c3d"
"""Of the text, in the repository spiffe/spiffe."""
