"""Operations on registered struct_ops maps, which join ``runtime`` (BPF) and ``net``."""
