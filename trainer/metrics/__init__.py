"""Figures that say how good a network is, as small objects: update with a frame, then ask.

Each figure comes with its counts, and rates with a 95 % interval. `result` holds all that one evaluation
counts; `judged` is what every figure is told of a frame.
"""
