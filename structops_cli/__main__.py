"""``python -m structops_cli``."""

from structops_cli.cli.main import entry

entry()
