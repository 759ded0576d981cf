"""From pose, shape and place to vertices and joints, in PyTorch and in numpy."""
