"""BTF: types as values, their bytes, their layout and their C declarations."""
