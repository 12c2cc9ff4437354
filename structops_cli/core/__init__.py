"""CO-RE: compute what each relocation of an object comes to on a kernel, then write it into the instructions.

Pure: two sides of types in, fixups out; instructions and fixups in, instructions out.

The answers are those of libbpf (``src/relo_core.c``, at 1.6), but for these, each
on purpose:

- What libbpf refuses to load and has a clear answer is answered: sign and shifts
  of an array's element; existence, size and sign of a field that candidates have at
  different offsets; a 64-bit load of an unsigned enumerator from 2^31 on; the sign of
  an enum that an old compiler did not record. An object that libbpf loads is not touched by it.
- What no instruction can take (an offset beyond a load's 15 bits, a load of a part of a
  resized field, an immediate beyond its 32 bits, a field of 16 bytes) is poison here, an
  error only if the verifier reaches it; libbpf refuses the object, or cuts the number short.
- A sign-extending load (``-mcpu=v4``) of a field whose size changed is poison: libbpf
  makes an opcode of it that no kernel knows, or a load that extends the wrong bit.
- An anonymous member taken as a whole has no name to look for. libbpf takes the place of
  what is around it, which is another place unless it comes first; here that is poison.
- An unsigned enumerator from 2^31 on stays unsigned; libbpf extends bit 31 as a sign,
  whatever the kernel's BTF says.
- Shifts of what is larger than 8 bytes, which mean nothing, are negative; libbpf cuts them to 32 bits.
- The number in a poisoned instruction says which relocation it was.
- Types are followed 64 levels deep, not 32.
"""
