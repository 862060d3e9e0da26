"""Ensembles of parameters: what they make of every observable, and whether that can be trusted."""
