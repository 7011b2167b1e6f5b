"""Where dispatches go, one file each: ``send`` and ``find_run`` are all that the dispatcher asks of one."""
