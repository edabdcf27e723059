"""`alledge bench`: what a field costs on this machine, and whether that figure can be trusted."""
