"""Drawing meshes on the CPU: a z-buffer, the overlay on a picture, and a 3D window that loads only when asked."""
