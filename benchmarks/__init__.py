"""What Handoff is measured with; README.md has the commands and the figures."""
