"""What `gw` has done on a gateway: the code behind library/ that a module brings there with it."""
