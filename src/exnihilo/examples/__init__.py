"""Conversations: their canonical form, the layouts they come in, checks, and what of them is trained."""
