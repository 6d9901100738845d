"""Register neurons: the few that make a sink, a patch that draws attention or grows large though it shows nothing."""

from .find import RegisterNeurons, Registers, find_registers

__all__ = ["RegisterNeurons", "Registers", "find_registers"]
