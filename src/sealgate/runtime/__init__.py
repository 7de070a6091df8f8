"""The processes of `serve`, and who may touch what."""
