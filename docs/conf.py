"""Sphinx's configuration: `make docs` builds pages and man pages from it. Warnings are errors."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_extensions"), str(HERE.parent)]

from command_line import summaries  # noqa: E402 -- the path is set above

from structops_cli import __version__  # noqa: E402

project = "structops"
author = "the authors of structops"
copyright = "the authors of structops"  # noqa: A001 -- Sphinx's name
release = version = __version__
language = "en"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx_click",
    "command_line",
    "json_fields",
    "public_names",
]
exclude_patterns = ["_extensions", "reference/schemas"]

# MyST: Markdown pages, with anchors for headings of three levels
myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3

# quotes and dashes of commands stay as they are typed
smartquotes = False
highlight_language = "text"
nitpicky = False
suppress_warnings = [
    "misc.highlighting_failure",  # output of a console is no Python
    "ref.python",  # the type `object` has the name of two fields
]

autodoc_member_order = "bysource"
toc_object_entries = False  # a table of contents with every field is no help
autodoc_typehints = "signature"
autodoc_preserve_defaults = True

html_theme = "furo"
html_title = f"structops {release}"
html_static_path = ["_static"]
html_css_files = ["width.css"]
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False

man_show_urls = False
man_pages = [
    ("reference/commands/structops", "structops", "register BPF struct_ops on a running kernel", author, 8),
    *(
        (f"reference/commands/{name}", f"structops-{name}", text, author, 8)
        for name, text in summaries().items()
    ),
]
