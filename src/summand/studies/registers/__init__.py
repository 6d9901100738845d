"""Register neurons: the few that make a sink, a patch that draws attention or grows large though it shows nothing."""
