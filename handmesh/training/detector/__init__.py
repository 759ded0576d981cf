"""The detector in training: its task and losses."""
