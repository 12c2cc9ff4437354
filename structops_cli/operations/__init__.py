"""What operators do with registered struct_ops: joins of the BPF side (``runtime``) and the network side (``net``)."""
