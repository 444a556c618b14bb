"""Offline: defect masks in, a model package that the line can serve out."""
