"""The search for placements, and which cores share a chip; the pass is :mod:`snnc.passes.place`."""

PARTS = 16
"""A hop in the whole numbers of the search; what a crossing costs is rounded to such parts of one."""
