"""Networks whose weights are random, so that nothing has to be downloaded."""

import numpy as np
from tests.models import FLOAT, STRING, UINT8, node, save, value

LABELS = ["low", "middle", "high"]


class _Network:
    """Nodes and weights of a convolutional network, one layer after the other."""

    def __init__(self):
        self.random = np.random.default_rng(7)
        self.nodes, self.weights = [], {}

    def add(self, operator, inputs, **attributes):
        """A node with one output, whose name is given back."""
        name = f"{operator.lower()}{len(self.nodes)}"
        self.nodes.append(node(operator, inputs, [name], **attributes))
        return name

    def convolution(self, last, channels, kernel, stride=1):
        """A convolution with a bias, into which a batch normalisation is folded; `channels` are those in and out."""
        taken, given = channels
        weight, bias = f"w{len(self.nodes)}", f"b{len(self.nodes)}"
        spread = (2 / (taken * kernel * kernel)) ** 0.5
        self.weights[weight] = self.random.normal(0, spread, (given, taken, kernel, kernel)).astype(np.float32)
        self.weights[bias] = np.zeros(given, np.float32)
        edges = [kernel // 2] * 4
        return self.add("Conv", [last, weight, bias], kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=edges)

    def bottleneck(self, last, channels, width, stride):
        """A block of three convolutions beside a shortcut; gives its output and the channels of that."""
        given = 4 * width
        first = self.add("Relu", [self.convolution(last, (channels, width), 1)])
        second = self.add("Relu", [self.convolution(first, (width, width), 3, stride)])
        third = self.convolution(second, (width, given), 1)
        same = stride == 1 and channels == given
        shortcut = last if same else self.convolution(last, (channels, given), 1, stride)
        return self.add("Relu", [self.add("Add", [third, shortcut])]), given


def resnet(path, *, width=64, blocks=(3, 4, 6, 3), classes=1000, side=224):
    """A network of ResNet-50's shape (He et al. 2015): `image [N, 3, side, side]` uint8 to `scores [N, classes]`."""
    net = _Network()
    net.weights["scale"] = np.array(1 / 255, np.float32)
    last = net.add("Mul", [net.add("Cast", ["image"], to=FLOAT), "scale"])
    last = net.add("Relu", [net.convolution(last, (3, width), 7, 2)])
    last = net.add("MaxPool", [last], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels = width
    for stage, count in enumerate(blocks):
        for block in range(count):
            last, channels = net.bottleneck(last, channels, width << stage, 2 if stage and not block else 1)
    last = net.add("Flatten", [net.add("GlobalAveragePool", [last])])
    net.weights["w"] = net.random.normal(0, channels**-0.5, (channels, classes)).astype(np.float32)
    net.nodes.append(node("MatMul", [last, "w"], ["scores"]))
    image, scores = value("image", UINT8, ["N", 3, side, side]), value("scores", FLOAT, ["N", classes])
    return save(path, [image], [scores], net.nodes, net.weights)


def labels(path, inputs):
    """A product on the GPU whose largest column becomes a text on the CPU: `x [N, inputs]` to `label [N]`."""
    weights = np.random.default_rng(7).normal(size=(inputs, len(LABELS))).astype(np.float32)
    classes = list(range(len(LABELS)))
    nodes = [
        node("MatMul", ["x", "w"], ["scores"]),
        node("ArgMax", ["scores"], ["class"], axis=1, keepdims=0),
        node("LabelEncoder", ["class"], ["label"], domain="ai.onnx.ml", keys_int64s=classes, values_strings=LABELS),
    ]
    return save(path, [value("x", FLOAT, ["N", inputs])], [value("label", STRING, ["N"])], nodes, {"w": weights})
