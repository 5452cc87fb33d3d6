"""Passes: graph to graph, a file each, none of which changes a bit of what is kept."""
