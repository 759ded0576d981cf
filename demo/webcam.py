"""Hand meshes live: python demo/webcam.py [--source 0|clip.mp4|photos/] [--output OUT] [--headless] [--stats FILE]

With a camera and a display it opens a window; without a display it writes an annotated clip; without a camera it uses a
clip of the open hand that it renders itself. Keys are shown on the screen; --stream ws://:8765 sends the hands to other
programs; --help names every option. The same few lines in a program of your own:

    import handmesh
    predictor = handmesh.HandMeshPredictor.from_pretrained()
    for frame in handmesh.HandTracker(predictor).run(0):
        picture = handmesh.draw_hands(frame.image, frame.hands)
"""

from handmesh.cli.webcam import main
from handmesh.errors import run_command

if __name__ == "__main__":
    run_command(main)
