"""An ONNX graph: its operations, the activations among them, and what the axes of its values stand for."""
