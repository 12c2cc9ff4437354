"""The kernel's rules for struct_ops maps as a pure model: what it would answer, by which rule, about which member.

``facts`` has the values: a map, a link, an operation and what the world around
holds. ``rule`` says what a rule is: data and one small predicate. ``create``,
``update``, ``maps``, ``links`` and ``programs`` hold the rules of one sort of
operation each, in the order in which the kernel asks them. ``step`` applies one
operation. ``capabilities`` tells from BTF how this kernel differs from others,
``offered`` why a type of its BTF is none that can be registered, ``predict``
what an object would meet, and ``causes`` goes from an errno back to the rules.

The rules are held against the running kernel by ``tests/live/test_model.py``.
"""
