"""The `handmesh` command: a file a command, and the options and progress lines that commands share."""
