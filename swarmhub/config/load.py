"""Reading ``swarmhub.yaml``."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from swarmhub.config.course_checks import course_problems
from swarmhub.config.hub_checks import hub_problems
from swarmhub.config.models import Config
from swarmhub.config.name_checks import name_problems
from swarmhub.config.seats import seat_problems
from swarmhub.config_errors import ConfigError, read_document, schema_problems


def load_config(path: str | Path) -> Config:
    """Read and check ``swarmhub.yaml``. Raises ConfigError with every problem found."""
    document = read_document(Path(path))
    problems = list(name_problems(document))
    try:
        config = Config.model_validate(document.data)
    except ValidationError as error:
        raise ConfigError([*schema_problems(document, Config, error), *problems]) from error
    problems += [
        *hub_problems(document, config),
        *course_problems(document, config),
        *seat_problems(document, config),
    ]
    if problems:
        raise ConfigError(problems)
    return config
