"""Every setting with its range, and how files and words change it."""

from handmesh.config.reading import config_from_dict, config_to_dict, load_config, without_folders
from handmesh.config.settings import (
    AugmentConfig,
    Config,
    DataConfig,
    DetectorConfig,
    DetectorLossConfig,
    LossConfig,
    ModelConfig,
    TrainConfig,
)

__all__ = [
    "AugmentConfig",
    "Config",
    "DataConfig",
    "DetectorConfig",
    "DetectorLossConfig",
    "LossConfig",
    "ModelConfig",
    "TrainConfig",
    "config_from_dict",
    "config_to_dict",
    "load_config",
    "without_folders",
]
