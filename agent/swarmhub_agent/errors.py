"""The base of every failure the agent expects and survives."""


class AgentError(Exception):
    """An expected failure; its text is a sentence a person reads in the status and in the log."""
