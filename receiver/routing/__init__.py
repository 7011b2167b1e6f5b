"""Which promotion goes where: conditions, templates and routes, all pure."""
