"""What is particular to training the detector: scenes, its losses, its scores."""

from __future__ import annotations

import copy
import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from handmesh.config import Config
from handmesh.data.negatives import find_pictures
from handmesh.data.scene_crops import (
    HAND,
    NO_LABEL,
    NOTHING,
    UNKNOWN,
    SceneCrop,
    SceneDataset,
    SceneMixture,
    WholeScenes,
)
from handmesh.data.scenes import LABELS, EmptyScenes, SceneFolder, SceneSource
from handmesh.detection.grid_decoding import decode_cells, squares
from handmesh.errors import HandMeshError
from handmesh.evaluation.detection_scores import Found, Truth, mask_overlap, score_detections
from handmesh.labeling.held_out import DEFAULT, HeldOut, read_held_out
from handmesh.models.checkpoint import read_checkpoint
from handmesh.models.checkpoint_path import find_checkpoint
from handmesh.models.detector_net import HandDetectorNet
from handmesh.rendering.contact_sheet import contact_sheet
from handmesh.training.detector.losses import detector_losses
from handmesh.training.sources import NEGATIVES

#: Least score of a cell that validation looks at, and of a pixel that is hand.
LEAST_SCORE, MASK_THRESHOLD = 0.05, 0.5


class DetectorLosses(nn.Module):
    """The detector with its losses, as LossNet is for the mesh network."""

    def __init__(self, net: HandDetectorNet, frozen_stages: int = 0) -> None:
        """Prepare the stages that stay as they are.

        Args:
            net: the network.
            frozen_stages: the backbone's first so many keep their weights and statistics. They run folded and without
                gradient, at a tenth of the time.
        """
        super().__init__()
        self.net, self.frozen_stages = net, frozen_stages
        # In a list: it is no part of the network that is trained and saved.
        self._folded = [copy.deepcopy(net.backbone).reparameterize()] if frozen_stages else []
        if frozen_stages:
            for part in (net.backbone.net.stem, *net.backbone.net.stages[:frozen_stages]):
                part.requires_grad_(False)
        self.branches = nn.ModuleDict()
        self.keeps_features = False
        self.features: list[Tensor] = []

    def forward(self, batch: SceneCrop) -> dict[str, Tensor]:
        """A stacked batch -> unweighted loss terms."""
        images: Tensor = batch["image"]
        if self.frozen_stages:
            with torch.no_grad():
                maps = self._folded[0].to(images.device).first_maps(self.net.normalise(images), self.frozen_stages)
            joined, finest = self.net.join(self.net.backbone.further_maps(maps))
        else:
            joined, finest = self.net.features(images)
        self.features = [joined] if self.keeps_features else []
        return detector_losses(self.net.decode(joined, finest), batch)


class DetectorTask:
    """The network that finds hands in whole pictures.

    Attributes:
        source: the scenes that are trained on.
        data_fingerprint: a name for them.
        val_data: whole scenes that are validated on.
    """

    def __init__(self, config: Config, device: torch.device) -> None:
        """Open the scenes.

        Args:
            config: of the run.
            device: where the network is.

        Raises:
            HandMeshError: no scenes, or folders that are not there.
        """
        self.config, self.device = config, device
        detector = config.detector
        if not detector.scenes or not detector.val_scenes:
            raise HandMeshError(
                "expected folders of scenes to train and to validate on, got none; give detector.scenes.FOLDER=WEIGHT "
                "for each and detector.val_scenes=FOLDER (handmesh synth --scenes renders some)"
            )
        held_out = read_held_out(detector.held_out or DEFAULT)
        sources = [open_scenes(name, held_out) for name in detector.scenes]
        self.source = SceneMixture(sources, list(detector.scenes.values()))
        self.data_fingerprint = self.source.fingerprint()
        self.val_data: Dataset[Any] = WholeScenes(
            SceneFolder(detector.val_scenes), detector.side, config.data.val_samples
        )

    def make_network(self) -> HandDetectorNet:
        """The network as the run begins: new, a detector's, or with backbone and path of a mesh network."""
        net = HandDetectorNet(self.config.model)
        if self.config.train.start_from:
            start_from(net, self.config.train.start_from)
        return net

    def make_losses(self, net: nn.Module) -> DetectorLosses:
        """The network's losses."""
        assert isinstance(net, HandDetectorNet)
        return DetectorLosses(net, self.config.detector.frozen_stages)

    def training_data(self) -> Dataset[Any]:
        """What is trained on."""
        return SceneDataset(self.source, self.config.detector, self.config.seed)

    def prepare(self, batch: SceneCrop, step: int, autocast: AbstractContextManager[None]) -> SceneCrop:
        """The batch as it is.

        Args:
            batch: of the loader.
            step, autocast: of no matter here.
        """
        return batch

    def validate(self, net: nn.Module, loader: DataLoader[Any]) -> tuple[dict[str, float], float]:
        """Scores on whole scenes, and 1 - average precision."""
        assert isinstance(net, HandDetectorNet)
        scores = validate_detector(net, loader, self.device)
        return scores, 1 - scores["ap"]

    def picture(self, net: nn.Module, count: int) -> np.ndarray:
        """Some validation scenes: hands that are there green, those found red, pixels found to be hand brighter."""
        assert isinstance(net, HandDetectorNet)
        chosen = np.unique(np.linspace(0, len(self.val_data) - 1, count).astype(int))  # type: ignore[arg-type]
        return contact_sheet([_drawn(net, self.val_data[int(i)], self.device) for i in chosen], columns=4)


def open_scenes(name: str, held_out: HeldOut) -> SceneSource:
    """The scenes of an entry of ``detector.scenes``, without those of makers that are held out.

    Args:
        name: a folder of scenes, or of such folders, or "negatives:FOLDER"; a file index.jsonl there names each
            picture's maker.
        held_out: the makers.

    Raises:
        HandMeshError: no such scenes.
    """
    folder = Path(name.removeprefix(NEGATIVES))
    if name.startswith(NEGATIVES):
        return EmptyScenes([path for path in find_pictures(folder) if not _is_held_out(path, held_out)])
    inside = [] if (folder / LABELS).is_file() else sorted(path.parent for path in folder.glob(f"*/{LABELS}"))
    if not inside:
        return SceneFolder(folder, lambda maker, source: not held_out.holds(maker, source))
    sources = [_of_maker(each, held_out) for each in inside if each.name not in held_out.makers]
    return SceneMixture(sources, [len(source) for source in sources])


def _of_maker(folder: Path, held_out: HeldOut) -> SceneFolder:
    """A folder's scenes; one of a maker's cut-outs is named after the maker."""
    return SceneFolder(folder, lambda maker, source: not held_out.holds(maker or folder.name, source))


def _is_held_out(path: Path, held_out: HeldOut) -> bool:
    maker, source = _makers(path.parent).get(path.name, ("", ""))
    return held_out.holds(maker, source)


def _makers(folder: Path) -> dict[str, tuple[str, str]]:
    """Maker and source of the pictures of a folder by file, as far as its index.jsonl knows them."""
    index = folder / "index.jsonl"
    if not index.is_file():
        return {}
    try:
        lines = [json.loads(line) for line in index.read_text(encoding="utf-8").splitlines()]
        return {line["file"]: (str(line.get("set", "")), str(line.get("src", ""))) for line in lines}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise HandMeshError(f"{index}: expected lines with 'file' and 'set', got {error!r}; restore the file") from None


def start_from(net: HandDetectorNet, path: str) -> None:
    """Give a network another one's weights, in place: a detector's all, a mesh network's where both have the part.

    Args:
        net: the network.
        path: a checkpoint.

    Raises:
        HandMeshError: no such checkpoint, a folded one, or one of another backbone.
    """
    header, tensors = read_checkpoint(find_checkpoint(path))
    if header.get("is_folded"):
        raise HandMeshError(f"expected a checkpoint in its training form to start from, got {path}, which is folded")
    own = net.state_dict()
    theirs = {name.removeprefix("head."): value.to(torch.float32 if value.is_floating_point() else value.dtype)
              for name, value in tensors.items()}  # fmt: skip
    wanted = [name for name in own if name.startswith(("backbone.", "up.")) or name in theirs]
    missing = [name for name in wanted if name not in theirs or theirs[name].shape != own[name].shape]
    if any(name.startswith("backbone.") for name in missing):
        raise HandMeshError(f"expected a checkpoint of {net.config.backbone} to start from, got {path} of another")
    net.load_state_dict({**own, **{name: theirs[name] for name in wanted if name not in missing}})


@torch.no_grad()
def validate_detector(net: HandDetectorNet, loader: DataLoader[Any], device: torch.device) -> dict[str, float]:
    """Figures of a network on whole scenes.

    Args:
        net: in either mode; it has its mode again afterwards.
        loader: of WholeScenes.
        device: where the network is.

    Returns:
        ap, recall (at 0.1 false hands a picture), side accuracy, roll_deg, mask_iou.
    """
    was_training = net.training
    net.eval()
    found, truths, overlaps = [], [], []
    for batch in loader:
        output = net(batch["image"].to(device))
        grids, masks = output.hands.cpu().numpy(), output.mask.cpu().numpy()
        for grid, mask, table, hand_map in zip(
            grids, masks, batch["hands"].numpy(), batch["hand_map"].numpy(), strict=True
        ):
            found.append(found_of(decode_cells(grid, LEAST_SCORE)))
            truths.append(truth_of(table, batch["image"].shape[1]))
            if (hand_map == 1).any():
                known = hand_map != NO_LABEL
                overlaps.append(mask_overlap((mask > MASK_THRESHOLD) & known, hand_map == 1))
    net.train(was_training)
    scores = score_detections(found, truths)
    return {
        "ap": scores.ap, "recall": scores.recall, "side_accuracy": scores.side_accuracy, "roll_deg": scores.roll_deg,
        "mask_iou": float(np.nanmean(overlaps)) if overlaps else float("nan"),
        **{f"recall_{name}": value for name, value in scores.recall_by_size.items()},
    }  # fmt: skip


def found_of(rows: np.ndarray) -> Found:
    """Rows (N, 8) of decode_cells as scores take them."""
    return Found(squares(rows), rows[:, 0], np.degrees(np.arctan2(rows[:, 5], rows[:, 6])), rows[:, 4])


def truth_of(table: np.ndarray, side: float) -> Truth:
    """The table of hands (N, 8) of one picture of data/scene_crops.py as scores take it; ``side`` the picture's."""
    half = table[:, 2:3] / 2
    boxes = np.concatenate([table[:, :2] - half, table[:, :2] + half], axis=1).astype(np.float64)
    hands, unknown = table[:, 7] == HAND, table[:, 7] == UNKNOWN
    right = np.where(table[:, 5] < 0, np.nan, table[:, 5])
    rolls = np.degrees(np.arctan2(table[:, 3], table[:, 4]))
    rolls = np.where((table[:, 3:5] == 0).all(1), np.nan, rolls)
    return Truth(
        boxes[hands], rolls[hands].astype(np.float64), right[hands].astype(np.float64),
        boxes[unknown], float(side),
    )  # fmt: skip


@torch.no_grad()
def _drawn(net: HandDetectorNet, crop: SceneCrop, device: torch.device) -> np.ndarray:
    was_training = net.training
    output = net.eval()(torch.from_numpy(crop["image"][None]).to(device))
    net.train(was_training)
    picture = crop["image"].copy()
    mask = cv2.resize(output.mask[0].cpu().numpy(), picture.shape[1::-1]) > MASK_THRESHOLD
    picture[mask] = (0.6 * picture[mask] + 0.4 * np.array([255, 230, 120])).astype(np.uint8)
    table = crop["hands"][crop["hands"][:, 7] != NOTHING]
    rows = decode_cells(output.hands[0].cpu().numpy(), 0.35)
    for color, middles, sides, sin, cos in (
        ((0, 220, 0), table[:, :2], table[:, 2], table[:, 3], table[:, 4]),
        ((255, 40, 40), rows[:, 1:3], rows[:, 3], rows[:, 5], rows[:, 6]),
    ):
        for middle, side, angle in zip(middles, sides, np.degrees(np.arctan2(sin, cos)), strict=True):
            corners = cv2.boxPoints((middle.tolist(), (float(side), float(side)), float(angle)))
            cv2.polylines(picture, [np.rint(corners).astype(np.int32)], True, color, 1, cv2.LINE_AA)
    return picture
