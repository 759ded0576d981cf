"""Footage by the thousand, labelled by many workers: pieces of work, a worker, and the pool that hands them out."""
