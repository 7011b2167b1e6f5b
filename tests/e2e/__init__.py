"""From the event to a running model, with a real runner, engine, registry and web server."""
