"""The hand model: its arrays, its files, its layer, and the open hand."""
