"""An ONNX model as a scorer: what it needs, how columns are bound to it, how it is run.

    signature   what the model says of its inputs and outputs (pure records)
    binding     which columns feed which input (pure)
    external    files that a model keeps weights in
    tensors     Arrow columns to arrays and back (no ONNX Runtime)
    runtime     sessions, execution providers, a model's signature
    scorer      OnnxScorer, which a worker calls

Only `runtime` imports ONNX Runtime, and only when it is called.
"""
