"""The built-in scenario factory: bundles, their gate, and recorded reference sessions."""

from sekft_engine.factory.gate import Admission, admit
from sekft_engine.factory.making import make
from sekft_engine.factory.record import rollout
from sekft_engine.records.results import FactoryReport

__all__ = ["Admission", "FactoryReport", "admit", "make", "rollout"]
