"""The two models that every peer scores with: `x [N, 20]` to one probability `p [N, 1]`."""

import itertools

import numpy as np
from tests.models import FLOAT, node, save, value

INPUTS = 20
HIDDEN = (64, 32)
TREES = 100
DEPTH = 4


def mlp(path, hidden=HIDDEN, spread=0.4):
    """A network with hidden layers of 64 and 32, or others; `spread` is the standard deviation of its weights."""
    random = np.random.default_rng(7)
    weights, nodes, last = {}, [], "x"
    for layer, (rows, columns) in enumerate(itertools.pairwise((INPUTS, *hidden, 1))):
        weights[f"w{layer}"] = random.normal(0, spread, (rows, columns)).astype(np.float32)
        weights[f"b{layer}"] = random.normal(0, 0.2, columns).astype(np.float32)
        nodes.append(node("Gemm", [last, f"w{layer}", f"b{layer}"], [f"g{layer}"]))
        last = f"g{layer}"
        if layer < len(hidden):
            nodes.append(node("Relu", [last], [f"r{layer}"]))
            last = f"r{layer}"
    nodes.append(node("Sigmoid", [last], ["p"]))
    return _saved(path, nodes, weights)


def gbm(path):
    """Boosted trees: 100 whole ones of depth 4."""
    ensemble = node("TreeEnsembleRegressor", ["x"], ["total"], domain="ai.onnx.ml", n_targets=1, **_trees())
    return _saved(path, [ensemble, node("Sigmoid", ["total"], ["p"])], {})


def _saved(path, nodes, weights):
    return save(path, [value("x", FLOAT, ["N", INPUTS])], [value("p", FLOAT, ["N", 1])], nodes, weights)


def _trees():
    """The attributes of the ensemble; the nodes of a tree are numbered as in a heap, the last level are leaves."""
    random = np.random.default_rng(7)
    inner, leaves = 2**DEPTH - 1, 2**DEPTH
    nodes = np.arange(inner + leaves)
    is_inner = nodes < inner
    # Features have 4 decimals and thresholds a fifth, so that none decides otherwise for how a parser rounds.
    thresholds = random.normal(size=(TREES, inner)).round(4) + 0.00005
    features = random.integers(0, INPUTS, (TREES, inner))
    values = np.pad(thresholds, ((0, 0), (0, leaves))).ravel()
    tree = np.repeat(np.arange(TREES), leaves)
    return {
        "nodes_treeids": np.repeat(np.arange(TREES), len(nodes)).tolist(),
        "nodes_nodeids": np.tile(nodes, TREES).tolist(),
        "nodes_modes": ["BRANCH_LEQ" if one else "LEAF" for one in is_inner] * TREES,
        "nodes_featureids": np.pad(features, ((0, 0), (0, leaves))).ravel().tolist(),
        "nodes_values": values.tolist(),
        "nodes_truenodeids": np.tile(np.where(is_inner, 2 * nodes + 1, 0), TREES).tolist(),
        "nodes_falsenodeids": np.tile(np.where(is_inner, 2 * nodes + 2, 0), TREES).tolist(),
        "target_treeids": tree.tolist(),
        "target_nodeids": np.tile(nodes[~is_inner], TREES).tolist(),
        "target_ids": [0] * (TREES * leaves),
        "target_weights": random.normal(0, 0.2, TREES * leaves).tolist(),
    }
