"""The examples, as people copy them."""
