"""Define the commands, one module each. Only this package imports click."""
