from __future__ import annotations

from pathlib import Path

import pytest
from swarmhub_agent.settings import Settings, SettingsError, from_environment


def test_an_empty_environment_gives_the_defaults() -> None:
    assert from_environment({}) == Settings()
    assert from_environment({"SWARMHUB_SHARED_PATH": " "}) == Settings()


def test_every_variable_is_read() -> None:
    settings = from_environment(
        {
            "SWARMHUB_SHARED_PATH": "/mnt/x",
            "SWARMHUB_CONTROLLER_PORT": "1000",
            "SWARMHUB_SWARM_PORT": "1001",
            "SWARMHUB_REPORT_INTERVAL": "3",
            "SWARMHUB_NOTICE_INTERVAL": "4.5",
            "SWARMHUB_METADATA_URL": "http://imds:80/",
            "SWARMHUB_DOCKER_SOCKET": "/s",
            "SWARMHUB_CERTIFICATES_DIR": "/c",
            "SWARMHUB_RUNTIME_DIR": "/r",
            "SWARMHUB_MIN_DISK_FREE_PERCENT": "10",
            "SWARMHUB_MAX_CLOCK_SKEW": "60",
        }
    )
    assert settings == Settings(
        shared_path=Path("/mnt/x"),
        controller_port=1000,
        swarm_port=1001,
        report_interval_s=3,
        notice_interval_s=4.5,
        metadata_url="http://imds:80",
        docker_socket=Path("/s"),
        certificates_dir=Path("/c"),
        runtime_dir=Path("/r"),
        min_disk_free_percent=10,
        max_clock_skew_s=60,
    )


@pytest.mark.parametrize(
    ("variable", "value", "allowed"),
    [
        ("SWARMHUB_SHARED_PATH", "srv/swarmhub", "an absolute path"),
        ("SWARMHUB_CONTROLLER_PORT", "0", "1 to 65535"),
        ("SWARMHUB_CONTROLLER_PORT", "https", "1 to 65535"),
        ("SWARMHUB_REPORT_INTERVAL", "0.1", "0.5 to 60 (seconds)"),
        ("SWARMHUB_NOTICE_INTERVAL", "31", "0.5 to 30 (seconds)"),
        ("SWARMHUB_REPORT_INTERVAL", "nan", "0.5 to 60 (seconds)"),
        ("SWARMHUB_METADATA_URL", "169.254.169.254", "an http or https URL"),
        ("SWARMHUB_MIN_DISK_FREE_PERCENT", "-1", "0 to 90 (percent)"),
    ],
)
def test_a_bad_value_is_refused_with_variable_value_and_range(
    variable: str, value: str, allowed: str
) -> None:
    with pytest.raises(SettingsError) as refusal:
        from_environment({variable: value})
    assert variable in str(refusal.value)
    assert repr(value) in str(refusal.value)
    assert allowed in str(refusal.value)
