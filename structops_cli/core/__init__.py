"""CO-RE: compute what each relocation of an object comes to on a kernel, then write it into the instructions.

Pure: two sides of types in, fixups out; instructions and fixups in, instructions out.
"""
