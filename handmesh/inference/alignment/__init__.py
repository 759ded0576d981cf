"""The mesh moved onto the network's own keypoints, and from the crop's frame into the camera's."""
