"""Commands: `python -m lbc.tools.NAME`."""
from __future__ import absolute_import

if __name__ != "lbc.tools":
    raise ImportError("import lbc.tools, not %s" % __name__)
