"""Scenarios and trajectories of the sister package posix-sdc, read and written.

What is known of its formats stands in docs/experiment.md; what is not known is tolerated, and kept.
"""

from sekft_engine.factory.sdc.convert import ConvertReport, FieldReport, convert
from sekft_engine.factory.sdc.objects import from_objects, to_objects

__all__ = ["ConvertReport", "FieldReport", "convert", "from_objects", "to_objects"]
