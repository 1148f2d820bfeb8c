"""Export to devices: quantization, ONNX, C headers, the analysis by ST Edge AI Core."""
