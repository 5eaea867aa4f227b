"""The AWS wire formats: forms in, XML out, both from botocore's service models through moto's codecs."""

from __future__ import annotations

import logging
import uuid
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from botocore.model import OperationNotFoundError
from botocore.utils import parse_timestamp
from botocore.validate import ParamValidator
from moto.core.model import OperationModel, ServiceModel
from moto.core.parse import EC2QueryParser, QueryParser
from moto.core.serialize import EC2Serializer, QuerySerializer, SerializationContext
from moto.core.utils import get_service_model

from lab.cloud.asg.model import World
from lab.cloud.errors import AwsError

log = logging.getLogger(__name__)

Params = Mapping[str, Any]
Handler = Callable[[World, Params, float], tuple[World, dict[str, Any]]]
"""One action: the world, its parsed parameters and the time in; the new world and the result out.
Refuses with AwsError."""
Apply = Callable[[Callable[[World, float], tuple[World, dict[str, Any]]]], dict[str, Any]]
"""Runs a change on the current world and keeps the outcome."""


@dataclass(frozen=True)
class Reply:
    """An HTTP answer."""

    status: int
    body: str
    headers: Mapping[str, str]


class Service:
    """One AWS service answered by us: ``autoscaling`` (query protocol) or ``ec2`` (ec2 protocol)."""

    def __init__(self, name: str, handlers: Mapping[str, Handler]) -> None:
        self.name = name
        self._handlers = handlers
        self._model: ServiceModel = get_service_model(name)
        is_ec2 = self._model.protocol == "ec2"
        self._parser = EC2QueryParser if is_ec2 else QueryParser
        self._serializer = EC2Serializer if is_ec2 else QuerySerializer
        unknown = [action for action in handlers if action not in self._model.operation_names]
        if unknown:
            raise ValueError(f"{name} has no operations {unknown}")
        # Errors are written the same way for every operation; an unknown one borrows this.
        self._any_operation: OperationModel = self._model.operation_model(self._model.operation_names[0])

    def answer(self, form: Mapping[str, str], apply: Apply) -> Reply:
        """Answer one request given as its form fields. Never raises."""
        action = form.get("Action", "")
        operation = self._any_operation
        try:
            operation = self._operation(action)
            params = self._parse(operation, form)
            handler = self._handlers[action]
            result = apply(lambda world, now: handler(world, params, now))
            self._check_output(operation, result)
        except AwsError as error:
            log.info("%s %s refused: %s", self.name, action or "(no action)", error)
            return self._serialize(operation, error)
        except Exception:
            log.exception("%s %s failed", self.name, action)
            failure = AwsError("InternalFailure", f"The local cloud failed on {action}; its log says why")
            return self._serialize(operation, failure, status=HTTPStatus.INTERNAL_SERVER_ERROR)
        return self._serialize(operation, result)

    def _operation(self, action: str) -> OperationModel:
        known = ", ".join(sorted(self._handlers))
        try:
            operation: OperationModel = self._model.operation_model(action)
        except OperationNotFoundError:
            raise AwsError(
                "InvalidAction", f"The action {action!r} is not an action of {self.name}"
            ) from None
        if action not in self._handlers:
            raise AwsError(
                "InvalidAction", f"The action {action} is not in the local cloud, which answers: {known}"
            )
        return operation

    def _parse(self, operation: OperationModel, form: Mapping[str, str]) -> Params:
        try:
            parser = self._parser(operation, timestamp_parser=parse_timestamp)
            request: Any = {"values": dict(form)}  # all that the query parsers read of a request
            params: dict[str, Any] = parser.parse(request)
        except ValueError as error:
            raise AwsError("MalformedQueryString", f"{operation.name}: {error}") from error
        problems = ParamValidator().validate(params, operation.input_shape) if operation.input_shape else None
        if problems and problems.has_errors():
            raise AwsError("ValidationError", problems.generate_report())
        return params

    def _check_output(self, operation: OperationModel, result: dict[str, Any]) -> None:
        """A result that botocore's model does not describe is our defect, never the client's surprise."""
        if operation.output_shape is None:
            if result:
                raise TypeError(f"{operation.name} has no result, got {sorted(result)}")
            return
        problems = ParamValidator().validate(result, operation.output_shape)
        if problems.has_errors():
            raise TypeError(f"{operation.name}: {problems.generate_report()}")

    def _serialize(
        self, operation: OperationModel, result: dict[str, Any] | AwsError, status: int | None = None
    ) -> Reply:
        context = SerializationContext(request_id=str(uuid.uuid4()))
        with warnings.catch_warnings():
            # moto warns of codes missing in the model, as InvalidAction is in every model.
            warnings.simplefilter("ignore")
            response = self._serializer(operation, context=context).serialize(result)
        body = response["body"]
        return Reply(
            status=status or response["status_code"],
            body=body if isinstance(body, str) else body.decode(),
            headers={**response["headers"], "x-amzn-RequestId": context.request_id},
        )


def service_of(authorization: str, credential: str = "") -> str:
    """The service in a SigV4 credential scope, '' when there is none.

    Takes the Authorization header, or a presigned URL's X-Amz-Credential.
    """
    if "Credential=" in authorization:
        credential = authorization.split("Credential=", 1)[1].split(",", 1)[0]
    parts = credential.strip().split("/")
    # <access key>/<date>/<region>/<service>/aws4_request; an access key has no slash
    return parts[-2] if len(parts) >= 5 and parts[-1] == "aws4_request" else ""  # noqa: PLR2004


def drop_none(**fields: Any) -> dict[str, Any]:
    """The fields that have a value: AWS leaves out what is not set."""
    return {key: value for key, value in fields.items() if value is not None}
