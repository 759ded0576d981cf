"""Which samples a config trains and validates on."""

from __future__ import annotations

from handmesh.config import Config
from handmesh.data.loading import MixtureSource, SampleSource, StridedSubset
from handmesh.data.negatives import NegativePictures
from handmesh.data.packed import open_split
from handmesh.errors import HandMeshError
from handmesh.mano.arrays import ManoArrays

#: Seeds of rendered training and validation hands are this far apart.
VALIDATION_SEED = 1_000_003
#: In a mixture, the name of the renderer among the folders.
RENDERED = "synthetic"
#: And the beginning of the name of a folder of pictures without hands: "negatives:FOLDER".
NEGATIVES = "negatives:"


def make_sources(config: Config, mano: ManoArrays) -> tuple[SampleSource, SampleSource]:
    """Training and validation samples.

    Raises:
        HandMeshError: a folder that is not there or not whole.
    """
    data = config.data
    if data.source == "freihand":
        if not data.root:
            raise HandMeshError(
                "expected the folder of a data set, got none; give data.root=FOLDER or data.source=synthetic"
            )
        train: SampleSource = _folder(data.root, "training", mano)
    elif data.source == "mixture":
        train = _mixture(config, mano)
    else:
        train = _rendered(config, mano, config.seed, data.negatives, data.left_hands)
    val_root = data.val_root or _first_folder(config)
    if val_root:
        val: SampleSource = _folder(val_root, "evaluation", mano)
    else:
        val = _rendered(config, mano, config.seed + VALIDATION_SEED, 0.0, 0.0)
    return train, StridedSubset(val, data.val_samples)


def _mixture(config: Config, mano: ManoArrays) -> SampleSource:
    data = config.data
    if not data.mixture:
        raise HandMeshError(
            "expected the folders of a mixture with their weights, got none; "
            f"give data.mixture.FOLDER=WEIGHT for each, FOLDER may be {RENDERED}"
        )
    sources = [
        _rendered(config, mano, config.seed, data.negatives, data.left_hands)
        if name == RENDERED
        else NegativePictures(name.removeprefix(NEGATIVES), config.seed)
        if name.startswith(NEGATIVES)
        else _folder(name, "training", mano)
        for name in data.mixture
    ]
    return MixtureSource(sources, list(data.mixture.values()))


def _first_folder(config: Config) -> str:
    if config.data.source == "freihand":
        return config.data.root
    folders = [name for name in config.data.mixture if name != RENDERED and not name.startswith(NEGATIVES)]
    return folders[0] if config.data.source == "mixture" and folders else ""


def _folder(root: str, split: str, mano: ManoArrays) -> SampleSource:
    return open_split(root, split, mano.hands_mean)


def fingerprint(source: SampleSource) -> str:
    """A name for the data in checkpoints: the source's own fingerprint, or what it renders from."""
    own = getattr(source, "fingerprint", None)
    return str(own()) if callable(own) else f"{type(source).__name__}, seed {getattr(source, 'seed', 'unknown')}"


def _rendered(config: Config, mano: ManoArrays, seed: int, negatives: float, left_hands: float) -> SampleSource:
    # Imported here: a run on photos compiles no renderer.
    from handmesh.synthesis.kinds import KINDS

    data = config.data
    return KINDS["plain" if data.plain_pictures else "full"](
        mano, seed, data.render_size, data.backgrounds or None, negatives=negatives, left_hands=left_hands
    )
