"""Benchmarks of starting and keeping servers; a module each, with ``NAME``, ``TARGETS`` and ``measure``."""

from __future__ import annotations

from bench.spawn import full_house, readoption, steady_state, stop_start, storm

BENCHMARKS = {module.NAME: module for module in (storm, stop_start, steady_state, readoption, full_house)}
