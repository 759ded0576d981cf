"""The network: backbone, heads, and the file that holds its weights."""
