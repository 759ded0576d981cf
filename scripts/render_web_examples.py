"""The web page's example pictures and its icon, rendered anew: python scripts/render_web_examples.py [--out FOLDER]

Frames of the rendered demo clip, so that the page ships no photo of anybody.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from handmesh.mano.arrays import load_mano
from handmesh.rendering.overlay import draw_hands
from handmesh.results import Hand
from handmesh.synthesis.demo_clip import ClipFrame, DemoScene
from handmesh.web.page import STATIC

ICON_PX = 64


def main() -> None:
    """Write examples/*.jpg and favicon.png."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=STATIC)
    folder: Path = parser.parse_args().out
    (folder / "examples").mkdir(parents=True, exist_ok=True)
    scene = DemoScene()
    right, pointing, two = scene.frame(0.5), scene.frame(3.6), scene.frame(5.2)
    pictures = {
        "right-hand": right.image[60:480, 180:600],
        "left-hand": pointing.image[40:480, 0:440][:, ::-1],  # a mirrored right hand is a left one
        "two-hands": two.image,
    }
    for name, picture in pictures.items():
        Image.fromarray(np.ascontiguousarray(picture)).save(folder / "examples" / f"{name}.jpg", quality=88)
    icon(right).save(folder / "favicon.png", optimize=True)


def icon(frame: ClipFrame) -> Image.Image:
    """The mesh of the frame's first hand, alone on transparent ground."""
    truth = frame.hands[0]
    empty = np.zeros(3, np.float32)
    hand = Hand(
        vertices=truth.vertices, joints=truth.joints, keypoints_2d=np.zeros((21, 2), np.float32), is_right=True,
        score=1.0, faces=load_mano("open").faces, global_orient=truth.global_orient, hand_pose=truth.hand_pose,
        betas=truth.betas, translation=empty, K=frame.K, box_xyxy=np.zeros(4, np.float32),
    )  # fmt: skip
    black, white = (draw_hands(np.full_like(frame.image, ground), [hand], alpha=1.0) for ground in (0, 255))
    opacity = 255 - np.clip(white.astype(int) - black, 0, 255).max(axis=-1)
    rows, columns = np.flatnonzero(opacity.any(axis=1)), np.flatnonzero(opacity.any(axis=0))
    pixels = np.dstack([black, opacity.astype(np.uint8)])[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    side = max(pixels.shape[:2])
    square = Image.new("RGBA", (side, side))
    square.paste(Image.fromarray(pixels), ((side - pixels.shape[1]) // 2, (side - pixels.shape[0]) // 2))
    return square.resize((ICON_PX, ICON_PX), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main()
