"""Rollouts and what is learned from their rewards."""
