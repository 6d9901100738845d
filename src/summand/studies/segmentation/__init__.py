"""Segmentation by maps: methods, protocols, metrics, figures."""
