"""The command: one file per command, one error boundary, rendering apart from logic. The only home of click."""
