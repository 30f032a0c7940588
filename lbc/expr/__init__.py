"""Trace expressions: text -> lexer -> parser -> checker (types) -> emitter (ftrace's spelling).  Facade: ``probe``."""
from __future__ import absolute_import
