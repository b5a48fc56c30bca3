"""The ground that every other room stands on: configs, artifacts, provenance, statistics, progress."""
