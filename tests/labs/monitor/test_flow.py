"""The values that flow through a step: those that the step itself computes, and the model is left as it was."""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from labs.monitor import find_nonfinite_origin
from labs.monitor.flow import along, examined, flow


def net_and_batch():
    generator = torch.Generator().manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    for p in net.parameters():
        nn.init.normal_(p, generator=generator)
    return net, torch.randn(16, 4, generator=generator), torch.arange(16) % 3


def test_forward_values_are_those_of_the_modules():
    net, x, y = net_and_batch()
    nodes = {node.name: node for node in flow(net, lambda: F.cross_entropy(net(x), y))}
    for k, operation in enumerate(("linear", "tanh", "linear")):
        node = nodes[f"{operation} @ {k}"]
        assert node.largest == net[: k + 1](x).abs().max().item() and node.phase == "forward" and not node.bad
    assert nodes["linear @ 0"].count == 16 * 8
    assert nodes["cross_entropy"].largest == F.cross_entropy(net(x), y).item()
    assert {read.name for read in nodes["linear @ 0"].reads} == {"input", "0.weight", "0.bias"}
    assert nodes["0.weight"].largest == net[0].weight.abs().max().item()


def test_derivatives_belong_to_their_operations_and_give_the_gradients():
    net, x, y = net_and_batch()
    nodes = {node.name: node for node in flow(net, lambda: F.cross_entropy(net(x), y))}
    backward = nodes["backward of linear @ 0"]
    assert backward.derives is nodes["linear @ 0"]
    assert all(p.grad is None for p in net.parameters())
    F.cross_entropy(net(x), y).backward()
    assert backward.count == 32 + 8
    assert backward.largest == max(p.grad.abs().max().item() for p in net[0].parameters())


def test_it_stops_at_a_bad_loss():
    net, x, y = net_and_batch()
    nodes = flow(net, lambda: F.cross_entropy(net(x * torch.inf), y))
    assert {node.phase for node in nodes} == {"input", "parameter", "forward"}
    assert nodes[-1].nan == 1


@pytest.mark.slow
def test_the_chain_is_a_way_through_the_step():
    net, x, y = net_and_batch()

    def loss():
        p = (1000 * net(x)).softmax(1)
        return F.cross_entropy(net(x), y) + torch.where(p > 0, p * p.log(), 0.0).mean()

    nodes, origin = flow(net, loss), find_nonfinite_origin(net, loss)
    way = along(nodes, origin.chain)
    assert [way[0].name, way[1].name] == ["log", "backward of mul"] and way[-1].nan
    assert all(a in b.reads for a, b in pairwise(way)) and all(node.bad for node in way)
    assert along(nodes, ("log", "cross_entropy")) == []  # no such way
    found = examined(net, loss)
    assert [found["nodes"][k]["name"] for k in found["way"]] == [node.name for node in way]
    assert found["message"] == origin.message


def test_a_sound_step_has_no_way():
    net, x, y = net_and_batch()
    found = examined(net, lambda: F.cross_entropy(net(x), y))
    assert found["phase"] == "none" and found["way"] == []
