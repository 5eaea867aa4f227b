"""The EC2 API's actions on launch templates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lab.cloud import query
from lab.cloud.asg import capacity
from lab.cloud.asg.model import ACCOUNT, LaunchTemplate, TemplateVersion, World
from lab.cloud.asg.world import new_resource_id, utc
from lab.cloud.aws_api import Handler, Params, drop_none
from lab.cloud.errors import AwsError

Result = tuple[World, dict[str, Any]]
CREATOR = f"arn:aws:iam::{ACCOUNT}:root"


def create_template(world: World, params: Params, now: float) -> Result:
    name = params["LaunchTemplateName"]
    if any(template.name == name for template in world.templates.values()):
        raise AwsError(
            "InvalidLaunchTemplateName.AlreadyExistsException",
            f"Launch template name already in use: {name}",
        )
    world, template_id = new_resource_id(world, "lt")
    template = LaunchTemplate(
        template_id=template_id,
        name=name,
        created=now,
        versions=(_new_version(1, params, now),),
        tags=capacity.tags_for(params, "launch-template"),
    )
    return _put(world, template), {"LaunchTemplate": _template(template)}


def create_version(world: World, params: Params, now: float) -> Result:
    template = capacity.find_template(world, params.get("LaunchTemplateId"), params.get("LaunchTemplateName"))
    version = _new_version(template.versions[-1].number + 1, params, now)
    world = _put(world, replace(template, versions=(*template.versions, version)))
    return world, {"LaunchTemplateVersion": _version(template, version)}


def describe_templates(world: World, params: Params, _now: float) -> Result:
    ids, names = params.get("LaunchTemplateIds", ()), params.get("LaunchTemplateNames", ())
    found = [capacity.find_template(world, template_id, None) for template_id in ids]
    found += [capacity.find_template(world, None, name) for name in names]
    chosen = found if ids or names else list(world.templates.values())
    chosen = query.select(chosen, params.get("Filters", ()), _template_filter, "InvalidParameterValue")
    shown, token = query.page(chosen, params, "MaxResults", 200)
    return world, drop_none(LaunchTemplates=[_template(template) for template in shown], NextToken=token)


def describe_versions(world: World, params: Params, _now: float) -> Result:
    template = capacity.find_template(world, params.get("LaunchTemplateId"), params.get("LaunchTemplateName"))
    wanted = {
        {"$Latest": str(template.versions[-1].number), "$Default": "1"}.get(version, version)
        for version in params.get("Versions", ())
    }
    found = [version for version in template.versions if not wanted or str(version.number) in wanted]
    shown, token = query.page(found, params, "MaxResults", 200)
    described = [_version(template, version) for version in shown]
    return world, drop_none(LaunchTemplateVersions=described, NextToken=token)


TEMPLATE_ACTIONS: Mapping[str, Handler] = {
    "CreateLaunchTemplate": create_template,
    "CreateLaunchTemplateVersion": create_version,
    "DescribeLaunchTemplates": describe_templates,
    "DescribeLaunchTemplateVersions": describe_versions,
}


def _new_version(number: int, params: Params, now: float) -> TemplateVersion:
    data = params["LaunchTemplateData"]
    return TemplateVersion(
        number=number, created=now, data=data, description=params.get("VersionDescription")
    )


def _put(world: World, template: LaunchTemplate) -> World:
    return replace(world, templates={**world.templates, template.template_id: template})


def _template(template: LaunchTemplate) -> dict[str, Any]:
    return {
        "LaunchTemplateId": template.template_id,
        "LaunchTemplateName": template.name,
        "CreateTime": utc(template.created),
        "CreatedBy": CREATOR,
        "DefaultVersionNumber": 1,
        "LatestVersionNumber": template.versions[-1].number,
        "Tags": [{"Key": key, "Value": value} for key, value in template.tags.items()],
    }


def _version(template: LaunchTemplate, version: TemplateVersion) -> dict[str, Any]:
    return drop_none(
        LaunchTemplateId=template.template_id,
        LaunchTemplateName=template.name,
        VersionNumber=version.number,
        VersionDescription=version.description,
        CreateTime=utc(version.created),
        CreatedBy=CREATOR,
        DefaultVersion=version.number == 1,
        LaunchTemplateData=dict(version.data),
    )


def _template_filter(template: LaunchTemplate) -> query.Values:
    return lambda name: (
        [template.name] if name == "launch-template-name" else query.tag_values(template.tags, name)
    )
