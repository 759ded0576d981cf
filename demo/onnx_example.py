"""An exported network with onnxruntime, numpy and Pillow alone, on a photo and a box around the whole hand:

python demo/onnx_example.py model.onnx photo.jpg X0 Y0 X1 Y1 right|left [hand.obj]

model.onnx comes from: handmesh export --format onnx. The box is in pixels of the upright photo.
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession(sys.argv[1])
about = session.get_modelmeta().custom_metadata_map
size, is_left = int(about["image_size"]), sys.argv[7] == "left"
photo = ImageOps.exif_transpose(Image.open(sys.argv[2])).convert("RGB")
x0, y0, x1, y1 = map(float, sys.argv[3:7])
# A square around the box, as much larger as in training; a left hand is shown mirrored, as a right one.
side = max(x1 - x0, y1 - y0) * float(about["crop_padding"])
corner = np.round([(x0 + x1 - side) / 2, (y0 + y1 - side) / 2])
crop = photo.crop((*corner, *(corner + round(side)))).resize((size, size), Image.Resampling.BILINEAR, reducing_gap=2)
crop = ImageOps.mirror(crop) if is_left else crop
outputs = ["vertices", "joints", "keypoints_2d", "presence"]
vertices, joints, pixels, presence = session.run(outputs, {"images": np.asarray(crop)[None]})
flip = np.float32([-1 if is_left else 1, 1, 1])
pixels = np.where([is_left, False], size - 1 - pixels[0], pixels[0])
pixels = (pixels + 0.5) * round(side) / size - 0.5 + corner
print(f"a hand with probability {presence[0]:.2f}; joints: pixels of the photo, metres along the ray to the hand")
for name, (u, v), (x, y, z) in zip(about["joint_order"].split(","), pixels, joints[0] * flip):
    print(f"{name:>12} {u:7.1f} {v:7.1f}   {x:8.4f} {y:8.4f} {z:8.4f}")
if len(sys.argv) > 8:  # the usual axes of mesh files: y up, z towards the viewer
    faces = np.array(json.loads(about["faces"]))[:, :: -1 if is_left else 1] + 1
    with open(sys.argv[8], "w", encoding="latin1") as file:
        np.savetxt(file, vertices[0] * flip * [1, -1, -1], "v %.6f %.6f %.6f")
        np.savetxt(file, faces, "f %d %d %d")
