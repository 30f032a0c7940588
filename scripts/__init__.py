"""Helpers of the developers; nothing here ships."""
from __future__ import absolute_import
