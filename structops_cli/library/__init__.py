"""The functions of the public library. ``import structops_cli as structops`` offers them.

Each function returns immutable values and raises ``StructopsError`` or a subclass. A
function that changes the system takes the lock file, makes all of its changes or none,
and completes or undoes them if this process dies. ``dry_run`` reports the same changes
without making them. Functions without a ``kernel`` argument ask the running kernel.

A SELECTOR is ``id:N``, the path of a pin, or a registered name. An object is a path, the
name of a bundled object, or the result of ``open_object``.
"""
