"""The whole job on one machine: a promotion becomes a build, with stand-ins for W&B and GitHub."""
