"""`leaky.watch` inside the trainers that people use: one module a trainer, imported where that trainer is.

    from leaky.integrations.lightning import Watch          # a Callback
    from leaky.integrations.transformers import Watch       # a TrainerCallback
    from leaky.integrations.keras import Watch              # a Callback, for Keras 3 on torch
    from leaky.integrations.skorch import Watch             # a Callback
    from leaky.integrations.stable_baselines3 import Watch  # a BaseCallback

A watch begins once the first step has shown which modules the trainer calls. Each is watched with the optimizer that
holds its parameters, where that is one of torch's: then updates, weights and, on the CPU, losses are known too.

Each takes `sites=True` for a few scalars a site besides those of the whole network, and what `leaky.watch` takes. The
scalars go wherever the trainer logs to, under `leaky/dead`, `leaky/locked`, `leaky/dormant`, `leaky/nearly_dead`,
`leaky/silent`, `leaky/alarms` (how many above info so far) and, with sites, `leaky/<site>/dead` …
`leaky/<site>/gradient`; alarms go as text where the logger takes text (TensorBoard, skorch's history).
"""
