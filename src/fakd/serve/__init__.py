"""A page on this machine that shows what a student and its teacher see in an image."""

from fakd.serve.command import ServeConfig, serve

__all__ = ["ServeConfig", "serve"]
