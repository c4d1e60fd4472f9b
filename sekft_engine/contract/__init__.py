"""Train equals serve: what a live server feeds its model against what training fed."""

from sekft_engine.contract.check import ContractReport, check_endpoint
from sekft_engine.contract.client import Client, key_from
from sekft_engine.contract.compare import Verdict

__all__ = ["Client", "ContractReport", "Verdict", "check_endpoint", "key_from"]
