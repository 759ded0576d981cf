"""Files, pictures, video and devices, and the libraries that read them. Does not know hands."""
