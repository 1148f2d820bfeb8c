"""What leaves for a device: quantization, ONNX, C headers, the report of ST Edge AI Core."""
