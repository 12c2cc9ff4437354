"""Types of the kernel, plans of objects, and the bytes between them. Pure: no fd, no call."""
