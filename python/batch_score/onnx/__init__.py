"""An ONNX model as a scorer: what it needs, how columns are bound to it, how it is run.

    signature   what the model says of its inputs and outputs (pure records)
    binding     which columns feed which input (pure)
    spec        all of that, and where it is to run, for a worker (pure records)
    batch       how many rows a model is given at once (pure)
    providers   execution providers and their options (pure)
    external    files that a model keeps weights in
    tensors     Arrow columns to arrays and back (no ONNX Runtime)
    half        half precision
    reason      why ONNX Runtime could not do it, in one line
    runtime     sessions, a model's signature
    feeding     how arrays get into a session
    engines     what TensorRT keeps
    model       a model on its device
    scorer      OnnxScorer, which a worker calls

`runtime` imports ONNX Runtime, and `half` its converter, only when they are called.
"""
