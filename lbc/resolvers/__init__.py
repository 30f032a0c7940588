"""Type sources behind one interface."""
from __future__ import absolute_import

if __name__ != "lbc.resolvers":
    raise ImportError("import lbc.resolvers, not %s" % __name__)
