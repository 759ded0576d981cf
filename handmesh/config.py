"""Every setting of a model and a training run, with its default; a YAML file or key=value holds only what differs.

Read by OmegaConf against these dataclasses, so that an unknown key or a wrong type is an error that names the valid
ones.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from handmesh.config_ranges import check_ranges
from handmesh.errors import HandMeshError

#: What follows in a word is a folder, dots and all.
_MIXTURE = "data.mixture."
_MAX_FILE_BYTES = 2**20


@dataclass(frozen=True)
class ModelConfig:
    """What the network is; stored in every checkpoint."""

    #: Any of timm's FastViT names.
    backbone: str = "fastvit_t8"
    #: Start from timm's ImageNet weights (a download).
    pretrained: bool = False
    drop_path: float = 0.0
    #: Start value of the layer scales without ImageNet weights (timm's own is 1e-5: made for 300 epochs).
    layer_scale: float = 0.1
    #: "aligned" (ours: heatmaps, one token a joint) or "pooled" (the FastViT paper's).
    head: str = "aligned"
    #: Side of the square input in pixels.
    image_size: int = 128
    #: Channels of the up-sampled feature map and of the joint tokens.
    width: int = 128
    #: Stride of the heatmaps.
    heatmap_stride: int = 8
    #: Rounds of message passing between the joint tokens.
    blocks: int = 2
    #: Rounds that project the current mesh into the feature maps and regress a residual.
    refinements: int = 0


@dataclass(frozen=True)
class AugmentConfig:
    """How a training crop departs from the plain one."""

    #: Standard deviation of the roll in degrees; a share of samples is rolled over the full circle instead.
    rotation_deg: float = 25.0
    full_circle: float = 0.15
    #: Largest relative change of the box's side, and shift of its centre in sides of the box.
    scale: float = 0.25
    shift: float = 0.10
    #: Whether to turn the crop so that the hand is upright before the roll.
    upright: bool = True
    #: Probability of the mirrored picture (then a left hand becomes a right one and the other way round).
    mirror: float = 0.0
    #: Strength of colour changes, 0 for none.
    colour: float = 1.0
    #: Probability of each of blur, noise, low resolution, and a pasted occluder.
    degrade: float = 0.15
    #: Whether the network's device cuts out and changes whole batches, rather than the loader's workers one by one:
    #: for a GPU that workers cannot feed. The same settings (no JPEG), other random numbers.
    on_device: bool = False


@dataclass(frozen=True)
class DataConfig:
    """Where samples come from and how they are cropped."""

    #: "freihand" (a folder in FreiHAND's layout), "synthetic" (rendered as it goes, nothing on disk) or "mixture".
    source: str = "freihand"
    root: str = ""
    #: Folders of a mixture and their weights; the folder "synthetic" is the renderer, "negatives:FOLDER" a folder of
    #: pictures without hands.
    mixture: dict[str, float] = field(default_factory=dict)
    #: Folder of the validation set; the evaluation split of ``root`` (of the mixture's first folder) when empty.
    val_root: str = ""
    #: Side of the crop over the side of the square around the 21 joints.
    crop_padding: float = 1.5
    #: Perspective-correct crops (a turned virtual camera) rather than plain cut-outs.
    perspective: bool = True
    workers: int = 2
    #: Samples of the validation set that are looked at.
    val_samples: int = 400
    #: Rendered hands only: shares of pictures without a hand and of left hands, and the rendered picture's side.
    negatives: float = 0.05
    left_hands: float = 0.1
    render_size: int = 224
    #: Folder of photos and environment maps for rendered backgrounds; procedural ones when empty.
    backgrounds: str = ""
    #: Rendered hands only: plain pictures (one lamp, one skin, a plain wall), which are learnt from sooner.
    plain_pictures: bool = False
    augment: AugmentConfig = field(default_factory=AugmentConfig)


@dataclass(frozen=True)
class LossConfig:
    """Weight of each term; 0 leaves it out."""

    #: Root-relative joints and vertices of the mesh, mean absolute difference in metres.
    joints: float = 10.0
    vertices: float = 10.0
    #: Final keypoints, and the mesh's own joints under the fitted camera; shares of the crop's side.
    keypoints_2d: float = 2.0
    projected_2d: float = 1.0
    #: Aligned head only: heatmaps (cross-entropy), their soft-argmax, and the skeleton lifted from them (metres).
    heatmap: float = 0.1
    points: float = 2.0
    lifted: float = 5.0
    rotations: float = 0.5
    betas: float = 0.005
    confidence: float = 0.05
    presence: float = 0.1
    is_right: float = 0.1
    #: A branch of training only, which gives the vertices without the hand model; metres.
    direct_vertices: float = 0.0
    #: With train.teacher: distance from the teacher's hand, in the units above, and from its maps (1 - correlation).
    teacher_joints: float = 5.0
    teacher_vertices: float = 5.0
    teacher_rotations: float = 0.25
    teacher_betas: float = 0.0025
    teacher_features: float = 0.2


@dataclass(frozen=True)
class TrainConfig:
    """The optimization."""

    steps: int = 10000
    batch_size: int = 64
    accumulate: int = 1
    optimizer: str = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 0.02
    warmup_steps: int = 300
    #: "cosine", or "step": a tenth of the rate at each of these shares of the run.
    schedule: str = "cosine"
    decay_at: list[float] = field(default_factory=lambda: [0.5, 0.85])
    #: Joints and 2D points by squared difference rather than absolute, as METRO and the FastViT paper.
    squared: bool = False
    clip: float = 1.0
    ema: float = 0.999
    #: "no", "bf16" or "fp16". On a CPU bf16 rounds the inputs of matrix products alone, and fp16 is "no".
    precision: str = "no"
    frozen_batch_norm: bool = False
    #: In a parallel run, normalise by the statistics of all processes' samples; on a CPU needs accelerate_cpu.
    sync_batch_norm: bool = False
    #: Checkpoint to start from (its weights only).
    start_from: str = ""
    #: Checkpoint of a trained network that this one learns from besides (distillation); any backbone, head and size.
    teacher: str = ""
    validate_every: int = 1000
    #: Steps between two states that resume=true can continue from.
    save_every: int = 500
    log_every: int = 20
    #: Finish, schedule and all, within so many minutes, or after ``steps`` if that is sooner; 0 for no limit.
    max_minutes: float = 0.0
    #: With max_minutes: so many steps are done however long they take, and the schedule is drawn out over them.
    min_steps: int = 0
    #: Faster inner loops on a CPU (models/cpu_training.py); the same maths.
    accelerate_cpu: bool = True
    #: Write TensorBoard files when TensorBoard is installed.
    tensorboard: bool = True
    #: Project of Weights & Biases to log to besides; none when empty.
    wandb: str = ""
    #: Steps between two measurements of each term's share of the gradient, 0 for none.
    shares_every: int = 200
    #: Samples of the validation set drawn with their predictions at each validation.
    pictures: int = 8
    device: str = "auto"
    loss: LossConfig = field(default_factory=LossConfig)


@dataclass(frozen=True)
class Config:
    """A whole run."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    #: The hand model: "open", or the path of a MANO file.
    mano: str = "open"
    #: Folder of the run.
    output: str = "runs/handmesh"
    seed: int = 0
    #: Continue the run in ``output``.
    resume: bool = False


def load_config(path: str | Path | None = None, overrides: list[str] | None = None) -> Config:
    """The defaults, changed by a YAML file, changed by ``key=value`` words (``train.steps=100``).

    Raises:
        HandMeshError: no such file, not YAML, an unknown key (naming the nearest and all valid ones), a wrong type, a
            number out of its range.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    config = OmegaConf.structured(Config)
    layers: list[tuple[str, Any]] = []
    where: str | Path | None = path
    try:
        if path is not None:
            if not Path(path).is_file():
                raise HandMeshError(f"expected a config file, got {path}: no such file; see the configs/ folder")
            layers.append((str(path), OmegaConf.create(_checked_text(Path(path)))))
        for word in overrides or []:
            where = word
            if "=" not in word:
                raise HandMeshError(f"expected key=value, got {word!r}; for example train.steps=1000")
            if "${" in word:
                raise HandMeshError(f"expected a plain value, got {word[:80]!r}: ${{...}} is not read; write it out")
            if word.startswith(_MIXTURE):
                layers.append((word, OmegaConf.create({"data": {"mixture": _weight(word)}})))
            else:
                layers.append((word, OmegaConf.from_dotlist([word])))
        for name, layer in layers:
            where = name
            if not OmegaConf.is_dict(layer):
                raise HandMeshError(f"expected {name} to hold key: value lines, got a list or text")
            _check_keys(OmegaConf.to_container(layer), dataclasses.asdict(Config()), name)
            config = OmegaConf.merge(config, layer)
        built: Config = _build(Config, OmegaConf.to_container(config, resolve=True))
    except (
        OmegaConfBaseException, YAMLError, OSError, ValueError, TypeError, AttributeError, LookupError, OverflowError,
        RecursionError,
    ) as error:  # fmt: skip
        # OmegaConf lets errors of every kind through where a value has another shape than its default.
        line = " ".join(str(error).split())[:200] or type(error).__name__
        raise HandMeshError(f"{str(where)[-200:]}: {line}; see handmesh/config.py") from error
    check_ranges(built)
    return built


def _checked_text(path: Path) -> str:
    """The file's text, once it is known to be a small document of plain values.

    Raises:
        HandMeshError: a file too large for settings, references (``${...}``), no ``key: value`` lines.
        ValueError, YAMLError: aliases, lists within lists, no YAML.
    """
    from handmesh.yaml_text import read_yaml

    if path.stat().st_size > _MAX_FILE_BYTES:
        raise HandMeshError(f"expected settings in {path}, got a file of more than 1 MB; see the configs/ folder")
    text = path.read_text(encoding="utf-8")
    # A few references to references stand for as much text as the memory holds.
    if "${" in text:
        raise HandMeshError(f"expected plain values in {path}, got a reference, ${{...}}; write the value out")
    if not isinstance(read_yaml(text) or {}, dict):
        raise HandMeshError(f"expected {path} to hold key: value lines, got a list or text")
    return text


def _weight(word: str) -> dict[str, float]:
    """The folder and the weight of ``data.mixture.FOLDER=WEIGHT``."""
    folder, _, text = word.removeprefix(_MIXTURE).rpartition("=")
    try:
        weight = float(text)
    except ValueError:
        weight = 0.0
    if not folder or not 0 < weight < math.inf:
        raise HandMeshError(
            f"expected {_MIXTURE}FOLDER=WEIGHT with a number above 0, got {word!r}; for example {_MIXTURE}synthetic=1"
        )
    return {folder: weight}


def config_to_dict(config: Any) -> dict[str, Any]:
    """A config (or any part of one) as plain nested dictionaries, for JSON."""
    return dataclasses.asdict(config)


def config_from_dict(values: dict[str, Any], kind: type[Any] = Config) -> Any:
    """The inverse of :func:`config_to_dict`; keys that are missing take their defaults.

    Raises:
        HandMeshError: a key that ``kind`` does not have.
    """
    _check_keys(values, dataclasses.asdict(kind()), kind.__name__)
    return _build(kind, values)


def without_folders(config: Config) -> Config:
    """The config with folders and files by their last name only: where they lay says nothing to others."""
    data = dataclasses.replace(
        config.data,
        root=Path(config.data.root).name,
        val_root=Path(config.data.val_root).name,
        backgrounds=Path(config.data.backgrounds).name,
        mixture={Path(name).name: weight for name, weight in config.data.mixture.items()},
    )
    start, teacher = Path(config.train.start_from).name, Path(config.train.teacher).name
    train = dataclasses.replace(config.train, start_from=start, teacher=teacher)
    return dataclasses.replace(
        config, data=data, train=train, mano=Path(config.mano).name, output=Path(config.output).name, resume=False
    )


def _check_keys(given: Any, valid: Any, where: str, prefix: str = "") -> None:
    if not isinstance(given, dict) or not isinstance(valid, dict):
        return
    for key, value in given.items():
        if key not in valid and prefix != _MIXTURE:
            near = difflib.get_close_matches(str(key), valid, n=1)
            hint = f"did you mean {prefix}{near[0]}? " if near else ""
            raise HandMeshError(
                f"{str(where)[-200:]}: unknown key {prefix}{str(key)[:60]}; {hint}"
                f"valid keys here: {', '.join(sorted(valid))}"
            )
        _check_keys(value, valid.get(key), where, f"{prefix}{key}.")


def _build(kind: type[Any], values: Any) -> Any:
    parts = {}
    for spec in dataclasses.fields(kind):
        if spec.name not in values:
            continue
        value = values[spec.name]
        factory = spec.default_factory
        if isinstance(factory, type) and dataclasses.is_dataclass(factory):
            value = _build(factory, value)
        parts[spec.name] = value
    return kind(**parts)
