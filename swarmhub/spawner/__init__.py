"""JupyterHub spawner: each student's server is a Docker Swarm service with one replica."""

from swarmhub.spawner.spawner import SwarmSpawner

__all__ = ["SwarmSpawner"]
