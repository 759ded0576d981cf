"""Every setting of a model and a training run, with its default and its range.

pydantic checks every value, wherever it comes from: a file, a word, a header, or code. What does not fit is
a HandMeshError that names the setting, what it may be, and the nearest valid name.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from annotated_types import Ge, Gt, Interval, MultipleOf
from pydantic import (
    AllowInfNan,
    BeforeValidator,
    ConfigDict,
    Strict,
    StrictBool,
    StrictInt,
    StringConstraints,
    ValidationError,
)
from pydantic import dataclasses as pydantic_dataclasses
from typing_extensions import dataclass_transform

from handmesh.config.messages import named_error

if TYPE_CHECKING:
    from handmesh.geometry.crop import CropSettings

Kind = TypeVar("Kind")


def _no(value: Any) -> Any:
    """YAML reads a bare no as false."""
    return "no" if value is False or value == "False" else value


def _number_as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


#: The operating system ends a file's name at a zero byte.
Name = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$", strict=True)]
#: A name of a list that another package keeps; longer ones are nobody's.
ShortName = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$", strict=True, max_length=60)]
#: A folder called 2024 is a path, though YAML reads a number.
FilePath = Annotated[Name, BeforeValidator(_number_as_text)]
Real = Annotated[float, Strict(), AllowInfNan(False)]
Share = Annotated[Real, Interval(ge=0, le=1)]
NotNegative = Annotated[Real, Ge(0)]
Count = Annotated[StrictInt, Ge(0)]
Positive = Annotated[StrictInt, Interval(ge=1, le=10**9)]


class _Named(type):
    """Of settings: what pydantic refuses is a HandMeshError."""

    def __call__(cls, *args: Any, **values: Any) -> Any:
        try:
            return super().__call__(*args, **values)
        except ValidationError as error:
            raise named_error(error, cls) from None


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
def _settings(kind: type[Kind]) -> type[Kind]:
    """A frozen dataclass whose values are checked whenever one is made."""
    checked: Any = pydantic_dataclasses.dataclass(frozen=True, config=ConfigDict(extra="forbid"))(kind)
    result: type[Kind] = checked
    return result


@_settings
class ModelConfig(metaclass=_Named):
    """What the network is; stored in every checkpoint.

    The upper bounds are far beyond what is of use: they keep a damaged or foreign checkpoint from filling the memory
    before its arrays are looked at.
    """

    #: Any of timm's FastViT names.
    backbone: Name = "fastvit_t8"
    #: Start from timm's ImageNet weights (a download).
    pretrained: StrictBool = False
    drop_path: Annotated[Real, Interval(ge=0, le=0.99)] = 0.0
    #: Start value of the layer scales without ImageNet weights (timm's own is 1e-5: made for 300 epochs).
    layer_scale: Real = 0.1
    #: Of the convolutions: "gelu" as in timm, or "hard_gelu" (models/activation.py), nearly the same, faster on CPUs.
    activation: Literal["gelu", "hard_gelu"] = "gelu"
    #: "aligned" (ours: heatmaps, one token a joint) or "pooled" (the FastViT paper's).
    head: Literal["aligned", "pooled"] = "aligned"
    #: Side of the square input in pixels.
    image_size: Annotated[StrictInt, Interval(ge=32, le=1024)] = 128
    #: Channels of the up-sampled feature map and of the joint tokens; the attention's heads share them out evenly.
    width: Annotated[StrictInt, Interval(ge=4, le=1024), MultipleOf(4)] = 128
    #: Stride of the heatmaps.
    heatmap_stride: StrictInt = 8
    #: Rounds of message passing between the joint tokens.
    blocks: Annotated[StrictInt, Interval(ge=0, le=16)] = 2
    #: Rounds that project the current mesh into the feature maps and regress a residual.
    refinements: Annotated[StrictInt, Interval(ge=0, le=8)] = 0


@_settings
class AugmentConfig(metaclass=_Named):
    """How a training crop departs from the plain one."""

    #: Standard deviation of the roll in degrees; a share of samples is rolled over the full circle instead.
    rotation_deg: NotNegative = 25.0
    full_circle: Share = 0.15
    #: Largest relative change of the box's side, and shift of its centre in sides of the box.
    scale: NotNegative = 0.25
    shift: NotNegative = 0.10
    #: Half of the hands are shown stretched along the picture's sides: largest relative change of the ratio of width
    #: to height. They have hand shapes that the data lack, and no MANO parameters as labels.
    stretch: Annotated[Real, Interval(ge=0, le=0.5)] = 0.0
    #: Whether to turn the crop so that the hand is upright before the roll.
    upright: StrictBool = True
    #: Probability of the mirrored picture (then a left hand becomes a right one and the other way round).
    mirror: Share = 0.0
    #: Strength of colour changes, 0 for none.
    colour: NotNegative = 1.0
    #: Probability of each of blur, noise, low resolution, and a pasted occluder.
    degrade: Share = 0.15
    #: Probabilities of light that falls off across the picture and may clip, and of edges sharpened by the camera.
    light: Share = 0.0
    sharpen: Share = 0.0
    #: Whether the network's device cuts out and changes whole batches, rather than the loader's workers one by one:
    #: for a GPU that workers cannot feed. The same settings (no JPEG), other random numbers.
    on_device: StrictBool = False


@_settings
class DataConfig(metaclass=_Named):
    """Where samples come from and how they are cropped."""

    #: "freihand" (a folder in FreiHAND's layout), "synthetic" (rendered as it goes, nothing on disk) or "mixture".
    source: Literal["freihand", "synthetic", "mixture"] = "freihand"
    root: FilePath = ""
    #: Folders of a mixture and their weights; the folder "synthetic" is the renderer, "negatives:FOLDER" a folder of
    #: pictures without hands.
    mixture: dict[str, Annotated[Real, Gt(0)]] = dataclasses.field(default_factory=dict)
    #: Folder of the validation set; the evaluation split of ``root`` (of the mixture's first folder) when empty.
    val_root: FilePath = ""
    #: Side of the crop over the side of the square around the 21 joints: below 1 it is cut, above 4 a hand is a speck.
    crop_padding: Annotated[Real, Interval(ge=1, le=4)] = 1.5
    #: Perspective-correct crops (a turned virtual camera) rather than plain cut-outs.
    perspective: StrictBool = True
    workers: Annotated[StrictInt, Interval(ge=0, le=4096)] = 2
    #: Samples of the validation set that are used.
    val_samples: Count = 400
    #: Rendered hands only: shares of pictures without a hand and of left hands, and the rendered picture's side.
    negatives: Share = 0.05
    left_hands: Share = 0.1
    render_size: Annotated[StrictInt, Interval(ge=16, le=4096)] = 224
    #: Folder of photos and environment maps for rendered backgrounds; procedural ones when empty.
    backgrounds: FilePath = ""
    #: Rendered hands only: plain pictures (one lamp, one skin, a plain wall), which are learnt from sooner.
    plain_pictures: StrictBool = False
    augment: AugmentConfig = dataclasses.field(default_factory=AugmentConfig)


@_settings
class LossConfig(metaclass=_Named):
    """Weight of each term; 0 leaves it out."""

    #: Root-relative joints and vertices of the mesh, mean absolute difference in metres.
    joints: NotNegative = 10.0
    vertices: NotNegative = 10.0
    #: Final keypoints, and the mesh's own joints under the fitted camera; shares of the crop's side.
    keypoints_2d: NotNegative = 2.0
    projected_2d: NotNegative = 1.0
    #: Aligned head only: heatmaps (cross-entropy), their soft-argmax, and the skeleton lifted from them (metres).
    heatmap: NotNegative = 0.1
    points: NotNegative = 2.0
    lifted: NotNegative = 5.0
    rotations: NotNegative = 0.5
    betas: NotNegative = 0.005
    confidence: NotNegative = 0.05
    presence: NotNegative = 0.1
    is_right: NotNegative = 0.1
    #: A branch of training only, which gives the vertices without the hand model; metres.
    direct_vertices: NotNegative = 0.0
    #: With train.teacher: distance from the teacher's hand, in the units above, and from its maps (1 - correlation).
    teacher_joints: NotNegative = 5.0
    teacher_vertices: NotNegative = 5.0
    teacher_rotations: NotNegative = 0.25
    teacher_betas: NotNegative = 0.0025
    teacher_features: NotNegative = 0.2


@_settings
class TrainConfig(metaclass=_Named):
    """The optimization."""

    steps: Positive = 10000
    batch_size: Annotated[StrictInt, Interval(ge=1, le=10**6)] = 64
    #: Sides of the crops, pixels, which steps take in turn; always model.image_size when empty. A network trained at
    #: several sizes gives good answers at each of them.
    image_sizes: list[Annotated[StrictInt, Interval(ge=32, le=1024), MultipleOf(32)]] = dataclasses.field(
        default_factory=list
    )
    accumulate: Annotated[StrictInt, Interval(ge=1, le=10**6)] = 1
    #: Any of timm's names.
    optimizer: ShortName = "adamw"
    learning_rate: Real = 1e-3
    weight_decay: Real = 0.02
    warmup_steps: Count = 300
    #: "cosine", or "step": a tenth of the rate at each of these shares of the run.
    schedule: Literal["cosine", "step"] = "cosine"
    decay_at: list[Real] = dataclasses.field(default_factory=lambda: [0.5, 0.85])
    #: Joints and 2D points by squared difference rather than absolute, as METRO and the FastViT paper.
    squared: StrictBool = False
    clip: Real = 1.0
    ema: Real = 0.999
    #: "no", "bf16" or "fp16". On a CPU bf16 rounds the inputs of matrix products alone, and fp16 is "no".
    precision: Annotated[Literal["no", "bf16", "fp16"], BeforeValidator(_no)] = "no"
    frozen_batch_norm: StrictBool = False
    #: In a parallel run, normalise by the statistics of all processes' samples; on a CPU needs accelerate_cpu.
    sync_batch_norm: StrictBool = False
    #: Checkpoint to start from (its weights only).
    start_from: FilePath = ""
    #: Checkpoint of a trained network that this one learns from besides (distillation); any backbone, head and size.
    teacher: FilePath = ""
    validate_every: Annotated[StrictInt, Ge(1)] = 1000
    #: Steps between two states that resume=true can continue from.
    save_every: Annotated[StrictInt, Ge(1)] = 500
    log_every: Annotated[StrictInt, Ge(1)] = 20
    #: Finish, schedule and all, within so many minutes, or after ``steps`` if that is sooner; 0 for no limit.
    max_minutes: NotNegative = 0.0
    #: With max_minutes: so many steps are done however long they take, and the schedule is drawn out over them.
    min_steps: Count = 0
    #: Faster inner loops on a CPU (training/cpu); the same maths.
    accelerate_cpu: StrictBool = True
    #: Write TensorBoard files when TensorBoard is installed.
    tensorboard: StrictBool = True
    #: Project of Weights & Biases to log to besides; none when empty.
    wandb: Name = ""
    #: Steps between two measurements of each term's share of the gradient, 0 for none.
    shares_every: Count = 200
    #: Samples of the validation set drawn with their predictions at each validation.
    pictures: Count = 8
    device: Literal["auto", "cpu", "cuda"] = "auto"
    loss: LossConfig = dataclasses.field(default_factory=LossConfig)


@_settings
class DetectorLossConfig(metaclass=_Named):
    """Weight of each of the detector's terms; 0 leaves it out."""

    score: NotNegative = 1.0
    box: NotNegative = 1.0
    roll: NotNegative = 0.3
    is_right: NotNegative = 0.3
    cut_off: NotNegative = 0.1
    mask: NotNegative = 0.5


@_settings
class DetectorConfig(metaclass=_Named):
    """What the detector is trained on, with ``task: detector``; its backbone and width are the model's."""

    #: Folders of scenes (data/scenes.py) and their weights; "negatives:FOLDER" is a folder of pictures without hands.
    scenes: dict[str, Annotated[Real, Gt(0)]] = dataclasses.field(default_factory=dict)
    #: Folder of the scenes that are validated on.
    val_scenes: FilePath = ""
    #: Photos' makers that are never trained on; the project's own list when empty.
    held_out: FilePath = ""
    #: Longer side of what the network is given of a picture, pixels; training sees squares of train_side.
    side: Annotated[StrictInt, Interval(ge=64, le=1024), MultipleOf(32)] = 256
    train_side: Annotated[StrictInt, Interval(ge=64, le=1024), MultipleOf(32)] = 192
    #: The backbone's first so many stages keep the weights they begin with, which makes a step several times faster.
    frozen_stages: Annotated[StrictInt, Interval(ge=0, le=4)] = 0
    #: Share of training pictures that several scenes are put together in.
    mosaic: Share = 0.3
    loss: DetectorLossConfig = dataclasses.field(default_factory=DetectorLossConfig)


@_settings
class Config(metaclass=_Named):
    """A whole run."""

    #: What is trained: "mesh", the network that sees crops of hands, or "detector", the one that finds them.
    task: Literal["mesh", "detector"] = "mesh"

    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    detector: DetectorConfig = dataclasses.field(default_factory=DetectorConfig)
    #: The hand model: "open", or the path of a MANO file.
    mano: FilePath = "open"
    #: Folder of the run.
    output: FilePath = "runs/handmesh"
    #: Generators of random numbers take 64 bits, one of them for a sign.
    seed: Annotated[StrictInt, Interval(ge=0, le=2**63 - 1)] = 0
    #: Continue the run in ``output``.
    resume: StrictBool = False

    @property
    def loss(self) -> LossConfig | DetectorLossConfig:
        """Weights of the losses of what is trained."""
        return self.detector.loss if self.task == "detector" else self.train.loss

    @property
    def crop(self) -> CropSettings:
        """What the network of this config is given of a hand."""
        from handmesh.geometry.crop import CropSettings

        data, sizes = self.data, tuple(sorted(set(self.train.image_sizes)))
        return CropSettings(self.model.image_size, data.crop_padding, data.perspective, sizes)
