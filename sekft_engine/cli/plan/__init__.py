"""``sekft plan``: will a run fit, before anything is loaded."""
