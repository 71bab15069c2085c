"""One module a model.

Each defines

``Settings``
    A `spotmill.config.Model`: the keys of `settings` in a task file.
``encoder(settings, task_input, view) -> Encoder``
    What is made of a frame before it enters the network (see `learning.encoders`).
``Network(settings, dimensions)``
    A `torch.nn.Module` from a batch of encoded frames to logits [batch, outputs]; one
    output for two classes. Where it has a method ``prepare(inputs, truth, condition)``,
    that is called once with all training frames before training.

It may name in ``ENCODED`` the settings that its encoder depends on (else all count): a search for
settings encodes frames anew where one of these changes.
"""
