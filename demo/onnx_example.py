"""An exported network with onnxruntime and numpy alone: python demo/onnx_example.py model.onnx [crop.npy] [hand.obj]

model.onnx comes from: handmesh export --format onnx. crop.npy holds a square uint8 RGB crop (S, S, 3) around a hand.
"""

import json
import sys

import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession(sys.argv[1])
about = session.get_modelmeta().custom_metadata_map
size = int(about["image_size"])
crop = np.load(sys.argv[2]) if len(sys.argv) > 2 else np.full((size, size, 3), 128, np.uint8)
vertices, joints, presence = session.run(["vertices", "joints", "presence"], {"images": crop[None]})
print(f"a hand with probability {presence[0]:.2f}; joints in metres:")
for name, place in zip(about["joint_order"].split(","), joints[0]):
    print(f"{name:>12} {place[0]:8.4f} {place[1]:8.4f} {place[2]:8.4f}")
if len(sys.argv) > 3:
    np.savetxt(sys.argv[3], vertices[0], "v %.6f %.6f %.6f")
    np.savetxt(open(sys.argv[3], "a"), np.array(json.loads(about["faces"])) + 1, "f %d %d %d")
