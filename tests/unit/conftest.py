"""What the unit tests share: no example of hypothesis has to be fast, for a busy machine makes any of them slow."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("structops", deadline=None)
settings.load_profile("structops")
