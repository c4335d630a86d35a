"""What a watch may do to a training at an alarm: each control in a module of its own, and who decides on them."""
