"""Compares the prompts that a server feeds its model with those that training fed."""

from sekft_engine.contract.check import ContractReport, check_endpoint
from sekft_engine.contract.compare import PromptComparison
from sekft_engine.contract.http.client import Client, key_from

__all__ = ["Client", "ContractReport", "PromptComparison", "check_endpoint", "key_from"]
