"""Topology files: trees of places with the nodes in them, power feeds and licences, changed as a whole."""

from .parse import TopologyFile, is_about_topology, parse_topology_file

__all__ = ["TopologyFile", "is_about_topology", "parse_topology_file"]
