"""What runs on the line: frames in, a logged verdict for every one of them out."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("inspection-appliance")
except PackageNotFoundError:  # running from a source tree that was never installed
    __version__ = "0+source"
