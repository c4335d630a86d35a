"""A watched model under `torch.compile`: operators of leaky's own in the compiled graph meet the sites."""
