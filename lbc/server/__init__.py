"""The compile and type server: protocol version 1 (lbc.wire is its client), for one host or behind a load balancer.

    settings, hive, answers, sources    what there is, and types as rows of the protocol
    flags, jail, sandbox, compiling     C from strangers -> objects
    store, service                      a body -> the body of the answer; answers on disk, shared and crash-safe
    messages, front, helpers, metrics   HTTP for one host: one process that only moves bytes, others that work
    wsgi                                the same service under gunicorn, uwsgi or mod_wsgi

docs/server.md tells how to run it.
"""
from __future__ import absolute_import
