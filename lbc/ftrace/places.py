"""What places in the kernel and in user programs have in common."""
from __future__ import absolute_import

__all__ = ["MAX_PROBES", "is_pattern"]

MAX_PROBES = 100    # of one wildcard, unless the user asks for more


def is_pattern(name):
    """Does ``name`` hold a wildcard (* or ?)?"""
    return "*" in name or "?" in name
