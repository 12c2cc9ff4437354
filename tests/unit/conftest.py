"""Set hypothesis to no deadline, because a busy machine makes any example slow."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("structops", deadline=None)
settings.load_profile("structops")
