"""Rotations, cameras, crops and alignment: pure functions on arrays of points."""
