"""Recordings as other programs' files and frames: animation, tables, skeletons, robots, Rerun."""
