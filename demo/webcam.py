"""Hand meshes live: python demo/webcam.py [--source 0|clip.mp4|photos/] [--output OUT] [--headless] [--stats FILE]

With a camera and a display it opens a window; without a display it writes an annotated clip; without a camera it uses a
clip of the open hand that it renders itself. Keys are shown on the screen; --help names every option.

To build your own: take the three lines that matter out of main() below.

    predictor = handmesh.HandMeshPredictor.from_pretrained()
    for frame in handmesh.HandTracker(predictor).run(0):                    # a camera's number, a clip, your own frames
        picture = handmesh.draw_hands(frame.image, frame.hands)             # frame.hands: meshes in metres
"""

from handmesh.cli.commands.webcam import parse, print_cameras
from handmesh.cli.live_outputs import LiveOutputs
from handmesh.cli.tracking import load_tracker
from handmesh.errors import run_command


def main() -> int:
    args = parse()
    if args.list_cameras:
        return print_cameras()
    # The source, and what the frames go to: window, clip, recording, stream, as the options say.
    with LiveOutputs(args) as outputs:
        # A handmesh.HandTracker of a handmesh.HandMeshPredictor, with the weights, the camera and the hands asked for.
        tracker = load_tracker(args, smoothing=not args.no_smoothing)
        # tracker.run(outputs.source), worked out one frame ahead of what happens here.
        for frame in outputs.frames(tracker):
            # handmesh.draw_hands(frame.image, frame.hands), with what the window's keys have switched.
            picture = outputs.draw(frame)
            outputs.put(frame, picture)
    return outputs.exit_code


if __name__ == "__main__":
    run_command(main)
