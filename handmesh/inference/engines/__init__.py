"""What runs the network: PyTorch, ONNX Runtime, OpenVINO, and exported files, all behind one call."""
