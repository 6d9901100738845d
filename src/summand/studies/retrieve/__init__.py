"""Nearest images by what some units write: same colour, same place, whatever the units say."""
