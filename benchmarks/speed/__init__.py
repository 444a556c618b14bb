"""How fast the line is: `python -m benchmarks.speed`."""
