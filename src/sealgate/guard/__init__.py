"""The guard room: what decides on every request, without I/O of its own. See docs/design/house.md."""
