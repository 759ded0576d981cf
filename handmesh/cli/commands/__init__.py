"""A file a command: each has ``parse`` and ``main``, and is imported when it is asked for."""
