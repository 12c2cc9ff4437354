"""The heart: what the kernel offers, what an object asks for, and the bytes between them. Pure: no fd, no call."""
