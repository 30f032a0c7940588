"""Pictures of numbers in text; knows nothing of the kernel."""
from __future__ import absolute_import
