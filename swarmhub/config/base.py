"""What all models of ``swarmhub.yaml`` have in common."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field

from swarmhub.config.values import Groups


class Model(BaseModel):
    """Unknown keys are refused, so that a typing error is not silently ignored; nothing changes later."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Access(Model):
    """Whom something is for."""

    allowed_groups: Groups = Field(
        default=(),
        description="JupyterHub groups it is for; empty, and `allowed_roles` empty too: everybody.",
        examples=["[ml]"],
    )
    allowed_roles: Groups = Field(
        default=(), description="JupyterHub roles it is for, besides those groups.", examples=["[teacher]"]
    )

    def allows(self, groups: frozenset[str], roles: frozenset[str]) -> bool:
        """Whether somebody in these groups, with these roles, may have it."""
        if not self.allowed_groups and not self.allowed_roles:
            return True
        return not (groups.isdisjoint(self.allowed_groups) and roles.isdisjoint(self.allowed_roles))


class Choice(Access):
    """One of several."""

    title: str = Field(default="", description="What students choose from; default: its name.")
    default: bool = Field(
        default=False, description="Chosen unless another is; default: the first one.", examples=["true"]
    )


def default_name(choices: Mapping[str, Choice]) -> str:
    """The choice marked as default, else the first; empty if there is none."""
    marked = (name for name, choice in choices.items() if choice.default)
    return next(marked, next(iter(choices), ""))
