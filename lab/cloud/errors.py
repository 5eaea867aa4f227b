"""The one error our AWS answers carry."""

from __future__ import annotations


class AwsError(Exception):
    """A refusal as AWS words it: boto3 turns it into ``ClientError`` with this code and message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


def validation_error(message: str) -> AwsError:
    """The Auto Scaling API's answer to nearly every bad request."""
    return AwsError("ValidationError", message)
