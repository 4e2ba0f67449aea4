"""The data, the model and the entry script of `batch-score demo`; `README.md` beside them says where they come from."""
