"""From a configuration that is there to a policy that could take its place. One module for each server."""
