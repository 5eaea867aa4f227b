"""boto3 clients with time limits.

A client is made for each use, by the thread that uses it: boto3 sessions are not thread-safe, and one made
while the metadata service was silent would stay without credentials for ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from boto3.session import Session
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_autoscaling import AutoScalingClient
    from mypy_boto3_ssm import SSMClient

CALL_LIMIT_S = 30.0
"""Longest wait for one step of the agent that calls AWS; two tries of 3 + 5 s and the credentials fit in."""

_CONFIG = Config(connect_timeout=3, read_timeout=5, retries={"total_max_attempts": 2, "mode": "standard"})


def ssm(region: str) -> SSMClient:
    """Return a client of the parameter store."""
    return Session(region_name=region).client("ssm", config=_CONFIG)


def autoscaling(region: str) -> AutoScalingClient:
    """Return a client of EC2 Auto Scaling."""
    return Session(region_name=region).client("autoscaling", config=_CONFIG)
