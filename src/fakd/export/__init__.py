"""Networks for deployment: ONNX files, and eight bits."""
