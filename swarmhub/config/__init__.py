"""``swarmhub.yaml``: the one short file that says which courses, pools and networks a hub has."""

from swarmhub.config.base import default_name
from swarmhub.config.courses import (
    CourseConfig,
    ImageConfig,
    MountConfig,
    OptionChoice,
    OptionConfig,
    SizeConfig,
)
from swarmhub.config.load import load_config
from swarmhub.config.models import (
    Config,
    FolderConfig,
    HubConfig,
    NetworkConfig,
    PoolConfig,
    RegistryConfig,
    StorageConfig,
)
from swarmhub.config.seats import INFRASTRUCTURE_ADDRESSES, addresses_needed, most_seats
from swarmhub.config.values import HOME, parse_size, render

__all__ = [
    "HOME",
    "INFRASTRUCTURE_ADDRESSES",
    "Config",
    "CourseConfig",
    "FolderConfig",
    "HubConfig",
    "ImageConfig",
    "MountConfig",
    "NetworkConfig",
    "OptionChoice",
    "OptionConfig",
    "PoolConfig",
    "RegistryConfig",
    "SizeConfig",
    "StorageConfig",
    "addresses_needed",
    "default_name",
    "load_config",
    "most_seats",
    "parse_size",
    "render",
]
