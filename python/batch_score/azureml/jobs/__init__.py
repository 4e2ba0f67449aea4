"""YAML files of Azure Machine Learning's CLI v2: pipelines with command and parallel jobs, and batch deployments."""
