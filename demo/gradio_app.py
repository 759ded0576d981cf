"""The hand mesh page: python demo/gradio_app.py [--port 7860], then open the address it prints.

Upload a photo or a clip, or use the browser's camera; see the meshes; download GLB, JSON, recordings and animations.
The page asks three functions for hands: those below. Give it others, and it shows another network's.
"""

from functools import partial

import handmesh
from handmesh.cli.commands.web_app import parse
from handmesh.cli.options import model_options
from handmesh.errors import run_command
from handmesh.web.app import hand_page
from handmesh.web.clip import load_tracker
from handmesh.web.server import serve


def main() -> int:
    args = parse()
    print("loading the model", flush=True)
    predictor = handmesh.HandMeshPredictor.from_pretrained(**model_options(args))

    def recover(image, fov_deg):
        """The hands of a photo, (H, W, 3) uint8 RGB; threads may share the predictor."""
        return predictor(image, fov_deg=fov_deg)

    def track(fov_deg):
        """What follows the hands before one visitor's camera."""
        return handmesh.HandTracker(predictor, fov_deg=fov_deg)

    # A clip is worked on in a process of its own, which loads the model anew.
    follow_clip = partial(load_tracker, model_options(args))
    with hand_page(recover, track, follow_clip, args.hosts) as app:
        serve(app, args.host, args.port)
    return 0


if __name__ == "__main__":
    run_command(main)
