"""ONNX graphs built operator by operator from a checkpoint's weights; nothing is traced."""
