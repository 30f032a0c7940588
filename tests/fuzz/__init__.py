"""Seeded mutations of hostile inputs: a value or one of lbc.errors, in bounded time and memory."""
from __future__ import absolute_import
