"""CO-RE: compute a fixup for each relocation, then write it into the instruction.

Fixups follow libbpf (``src/relo_core.c``, 1.6), with these deliberate differences:

- structops answers some questions that libbpf refuses: sign and shifts of an
  array's element; existence, size and sign of a field that type candidates place
  differently; a 64-bit load of an unsigned enumerator from 2^31 on; the sign of
  an enum that an old compiler did not record. This changes no object that libbpf loads.
- A value without a fitting instruction becomes poison: an offset beyond 15 bits, a
  partial load of a resized field, an immediate beyond 32 bits, a field of 16 bytes.
  It fails only if the verifier reaches it. libbpf refuses the object or cuts the number.
- A sign-extending load (``-mcpu=v4``) of a resized field is poison. libbpf makes an
  unknown opcode of it, or a load that extends the wrong bit.
- An anonymous member taken as a whole has no name to find, so it is poison. libbpf
  takes the place of the type around it.
- An unsigned enumerator from 2^31 on stays unsigned. libbpf sign-extends it.
- Shifts of fields larger than 8 bytes are negative. libbpf cuts them to 32 bits.
- The number in a poisoned instruction identifies the relocation.
- Types are followed 64 levels deep, not 32.
"""
