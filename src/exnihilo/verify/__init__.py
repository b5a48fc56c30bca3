"""Answers checked by a rule: no model, no judgement."""
