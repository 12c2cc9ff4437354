"""The kernel's rules for struct_ops as a pure model: the answer, the rule and the member.

``causes`` states the causes that no predicate decides, and those that several rules share.
``model`` has the values: maps, links, operations, and the world around them. ``rule`` defines a
rule. ``create``, ``update``, ``subsystem``, ``maps``, ``links`` and ``programs`` state the rules in
the kernel's order. ``step`` applies an operation to a model. ``diagnose`` goes from an errno back to
the rules, ``predict`` from an object to them. ``offered`` has the rules for types, ``definitions``
for maps of other types, and ``verifier`` for the accesses and calls of programs.

``tests/live/test_model.py`` compares the model with the running kernel.
"""
