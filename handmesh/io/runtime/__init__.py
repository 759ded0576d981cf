"""The machine that the program runs on: processors, processes, signals, compiled kernels, shared libraries."""
