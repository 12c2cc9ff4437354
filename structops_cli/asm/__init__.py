"""The BPF instruction set: the only home of opcode numbers."""
