"""The device side: engines, runs and proofs; never imports tensorflow, torch, keras, jax or onnx."""
