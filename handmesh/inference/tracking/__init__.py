"""Hands followed from frame to frame: the tracker, a track, and the filters that smooth it."""
