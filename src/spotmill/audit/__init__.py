"""A results folder held against the configuration."""
