"""A checkpoint as a file for another runtime, verified before it is kept."""
