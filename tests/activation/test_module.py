"""The module: what it computes, shows and keeps, and that torch's tools take it as they take their own."""

from __future__ import annotations

import copy
import io
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx.helper
import onnxruntime
import pytest
import torch
from tests.activation.comparison import assert_same_bits, special_values
from torch import nn

import leaky
from leaky import LeakyReLU, leaky_relu
from leaky.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.:DeprecationWarning")

MODULES: dict[str, Callable[[], LeakyReLU]] = {
    "default": LeakyReLU,
    "zero": lambda: LeakyReLU(0.0),
    "negative": lambda: LeakyReLU(-0.3),
    "gain and clamp": lambda: LeakyReLU(0.2, gain=1.4, clamp=2.0),
    "channels": lambda: LeakyReLU([0.0, 0.1, 0.2]),
    "learnable": lambda: LeakyReLU(0.25, learnable=True),
    "learnable channels": lambda: LeakyReLU([0.0, 0.1, -0.2], learnable=True, gain=2.0, clamp=1.5),
    "last dimension": lambda: LeakyReLU([0.1, 0.2, 0.3, 0.4], channel_dim=-1),
    "in place": lambda: LeakyReLU(0.1, True),
    "in place, negative": lambda: LeakyReLU(-0.1, True, gain=2.0),
}


@pytest.fixture(params=MODULES.values(), ids=MODULES)
def module(request: pytest.FixtureRequest) -> LeakyReLU:
    return request.param()  # type: ignore[no-any-return]


def _input() -> torch.Tensor:
    x = torch.randn(16, 3, 4, generator=torch.Generator().manual_seed(2))
    return torch.cat([x, special_values(torch.float32)[:72].reshape(-1, 3, 4)])


def _assert_same_function(one: Callable[[torch.Tensor], torch.Tensor], other: nn.Module) -> None:
    """The same values, and the same gradients of the input and, if there are any, of the slopes."""
    results = []
    for function in (one, other):
        x = _input().requires_grad_()
        y = function(x.clone())
        slopes = [p for p in other.parameters() if p.requires_grad] if function is other else _parameters(one)
        finite = torch.nan_to_num(y.double(), posinf=0.0, neginf=0.0)
        results.append((y, *torch.autograd.grad(finite.sum(), [x, *slopes])))
    for left, right in zip(*results, strict=True):
        # what was written over in place passes on a gradient of +0, which makes +0 of −0
        in_place = any(getattr(one, "inplace", False) for one in other.modules())
        assert_same_bits(left + 0.0, right + 0.0) if in_place else assert_same_bits(left, right)


def _parameters(function: Any) -> list[nn.Parameter]:
    return [p for p in function.parameters() if p.requires_grad] if isinstance(function, nn.Module) else []


def test_the_module_is_the_function(module: LeakyReLU) -> None:
    x = _input()
    expected = leaky_relu(
        x, module.negative_slope, gain=module.gain, clamp=module.clamp, channel_dim=module.channel_dim
    )
    y = module(x)
    assert_same_bits(y, expected)
    assert (y is x) == module.inplace


def test_copies_and_pickles_are_the_same_module(module: LeakyReLU) -> None:
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert repr(twin) == repr(module)
        _assert_same_function(twin, module)
        assert not {id(p) for p in twin.parameters()} & {id(p) for p in module.parameters()}


def test_the_state_round_trips_and_only_tensors_are_state(module: LeakyReLU) -> None:
    state = module.state_dict()
    assert list(state) == (["negative_slope"] if isinstance(module.negative_slope, torch.Tensor) else [])
    stream = io.BytesIO()
    torch.save(state, stream)
    stream.seek(0)
    loaded = torch.load(stream, weights_only=True)
    fresh = copy.deepcopy(module)
    with torch.no_grad():
        for tensor in fresh.state_dict().values():
            tensor.zero_()
    fresh.load_state_dict(loaded)
    _assert_same_function(fresh, module)


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (LeakyReLU(), "LeakyReLU(negative_slope=0.01)"),
        (LeakyReLU(0.2, True, gain=1.5, clamp=6), "LeakyReLU(negative_slope=0.2, gain=1.5, clamp=6, inplace=True)"),
        (LeakyReLU(0.25, learnable=True), "LeakyReLU(negative_slope=0.25, learnable=True)"),
        (LeakyReLU([0.0, 0.5], channel_dim=-1), "LeakyReLU(negative_slope=2 slopes in [0, 0.5], channel_dim=-1)"),
    ],
)
def test_repr_says_what_differs_from_the_default(module: LeakyReLU, expected: str) -> None:
    assert repr(module) == expected


def test_a_parameter_is_learnable_and_shared_and_a_tensor_is_copied() -> None:
    parameter, tensor = nn.Parameter(torch.tensor([0.1, 0.2])), torch.tensor([0.1, 0.2])
    assert LeakyReLU(parameter).negative_slope is parameter
    assert LeakyReLU(parameter).learnable
    module = LeakyReLU(tensor)
    tensor.fill_(7.0)
    assert module.negative_slope.tolist() == pytest.approx([0.1, 0.2])
    assert not module.learnable
    assert LeakyReLU(np.array([0.5, 1.0])).negative_slope.dtype == torch.float32


def test_a_learnable_slope_is_trained() -> None:
    torch.manual_seed(0)
    module, x = LeakyReLU([0.0, 0.0, 0.0], learnable=True), torch.randn(200, 3)
    target = leaky_relu(x, torch.tensor([0.3, -0.2, 1.2]))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.5)
    for _ in range(100):
        optimizer.zero_grad()
        ((module(x) - target) ** 2).mean().backward()
        optimizer.step()
    assert module.negative_slope.tolist() == pytest.approx([0.3, -0.2, 1.2], abs=1e-4)


def test_moving_the_module_moves_its_slopes() -> None:
    for learnable in (False, True):
        module = LeakyReLU([0.1, 0.2, 0.3], learnable=learnable).to(torch.bfloat16)
        assert module.negative_slope.dtype == torch.bfloat16
        assert module(_input().bfloat16()).dtype == torch.bfloat16
        assert module.to("meta")(_input().to("meta")).shape == _input().shape


def test_gradient_checkpointing_and_distributed_buffers_see_plain_state() -> None:
    module = LeakyReLU([0.0, 0.1, 0.2], learnable=True)
    x = _input().nan_to_num(0.0, 1.0, -1.0).requires_grad_()
    plain = torch.autograd.grad(module(x).sum(), [x, *module.parameters()])
    again = torch.utils.checkpoint.checkpoint(module, x, use_reentrant=False)
    for left, right in zip(plain, torch.autograd.grad(again.sum(), [x, *module.parameters()]), strict=True):
        assert_same_bits(left, right)


# --- to_torch -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "kind"),
    [
        (LeakyReLU(0.2), nn.LeakyReLU),
        (LeakyReLU(0.2, True), nn.LeakyReLU),
        (LeakyReLU(-0.2, True), nn.LeakyReLU),
        (LeakyReLU(0.0), nn.ReLU),
        (LeakyReLU(0.25, learnable=True), nn.PReLU),
        (LeakyReLU([0.1, 0.2, -0.3], learnable=True), nn.PReLU),
        (LeakyReLU([0.1, 0.2, -0.3]), nn.PReLU),
    ],
    ids=repr,
)
def test_to_torch_gives_the_plain_module_that_computes_the_same(module: LeakyReLU, kind: type[nn.Module]) -> None:
    plain = module.eval().to_torch()
    assert type(plain) is kind
    assert not plain.training
    _assert_same_function(plain, module)
    assert [p.requires_grad for p in plain.parameters()] in ([], [module.learnable])
    assert not {id(p) for p in plain.parameters()} & {id(p) for p in module.parameters()}


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (LeakyReLU(gain=2.0), "gain must be 1 and clamp None.*not 2 and None"),
        (LeakyReLU(clamp=6.0), "not 1 and 6.0"),
        (LeakyReLU([0.1, 0.2], channel_dim=-1), "channel_dim must be 1 for nn.PReLU, not -1"),
    ],
    ids=repr,
)
def test_to_torch_refuses_what_torch_cannot_compute(module: LeakyReLU, message: str) -> None:
    with pytest.raises(InputError, match=message):
        module.to_torch()


# --- torch's tools ------------------------------------------------------------------------------------------------


def test_symbolic_trace_keeps_the_call_in_one_node_and_pickles(module: LeakyReLU) -> None:
    traced = torch.fx.symbolic_trace(nn.Sequential(nn.Identity(), module))
    calls = [node for node in traced.graph.nodes if node.op == "call_function"]
    assert [node.target for node in calls] == [leaky.activation.torch.leaky_relu]
    _assert_same_function(traced, module)
    _assert_same_function(pickle.loads(pickle.dumps(traced)), module)


def test_symbolic_trace_of_a_functional_call() -> None:
    traced = torch.fx.symbolic_trace(lambda x: leaky_relu(x, 0.2, gain=2.0) + 1)
    assert torch.equal(traced(_input()[:16]), leaky_relu(_input()[:16], 0.2, gain=2.0) + 1)


def test_script_saves_and_loads(module: LeakyReLU) -> None:
    stream = io.BytesIO()
    torch.jit.save(torch.jit.script(module), stream)
    stream.seek(0)
    _assert_same_function(torch.jit.load(stream), module)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # dynamo looks at it
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compile_takes_the_whole_graph(module: LeakyReLU, backend: str) -> None:
    torch.compiler.reset()
    _assert_same_function(torch.compile(module, backend=backend, fullgraph=True), module)


def test_compile_survives_a_changed_slope_and_shape() -> None:
    torch.compiler.reset()
    module = LeakyReLU(0.1)
    compiled = torch.compile(module, backend="eager", fullgraph=True)
    for slope, rows in ((0.1, 3), (0.2, 5), (0.0, 7), (-0.4, 9)):
        module.negative_slope = slope
        x = torch.randn(rows, 2)
        assert_same_bits(compiled(x), leaky_relu(x, slope))


def test_export_saves_and_loads(module: LeakyReLU) -> None:
    program = torch.export.export(module, (torch.zeros_like(_input()),))
    stream = io.BytesIO()
    torch.export.save(program, stream)
    stream.seek(0)
    exported = torch.export.load(stream).module()
    x = _input()
    assert_same_bits(exported(x.clone()), module(x.clone()))


def test_export_of_a_plain_slope_is_one_operator_with_that_slope() -> None:
    program = torch.export.export(LeakyReLU(0.2), (torch.zeros(2, 3),))
    calls = [node for node in program.graph.nodes if node.op == "call_function"]
    assert [(node.target, *node.args[1:]) for node in calls] == [(torch.ops.aten.leaky_relu.default, 0.2)]


def _onnx(module: nn.Module, x: torch.Tensor) -> onnx.ModelProto:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's exporter warns of its own dependencies
        program = torch.onnx.export(module.eval(), (x,), dynamo=True, verbose=False)
    assert program is not None
    return program.model_proto


def _run_onnx(model: onnx.ModelProto, x: torch.Tensor) -> torch.Tensor:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    return torch.from_numpy(y)


@pytest.mark.parametrize(
    ("module", "operators", "alpha"),
    [
        (LeakyReLU(0.2), ["LeakyRelu"], 0.2),
        (LeakyReLU(0.01), ["LeakyRelu"], 0.01),
        (LeakyReLU(0.0), ["Relu"], None),
        (LeakyReLU(0.2).to_torch(), ["LeakyRelu"], 0.2),
        (LeakyReLU([0.1, 0.2, 0.3], learnable=True).to_torch(), ["PRelu"], [0.1, 0.2, 0.3]),
        (LeakyReLU([0.1, 0.2, 0.3], learnable=True), ["PRelu"], [0.1, 0.2, 0.3]),
    ],
    ids=repr,
)
def test_onnx_has_the_operator_with_the_slope(module: nn.Module, operators: list[str], alpha: Any) -> None:
    x = _input()[:16]
    model = _onnx(module, x)
    rectifiers = [node for node in model.graph.node if node.op_type.lower().endswith("relu")]
    assert [node.op_type for node in rectifiers] == operators
    if operators == ["LeakyRelu"]:
        (attribute,) = rectifiers[0].attribute
        assert onnx.helper.get_attribute_value(attribute) == pytest.approx(alpha)
    if operators == ["PRelu"]:
        weights = {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}
        assert weights[rectifiers[0].input[1]].ravel().tolist() == pytest.approx(alpha)
    assert_same_bits(_run_onnx(model, x), module(x))


def test_onnx_keeps_gain_clamp_and_the_rules_at_slope_zero() -> None:
    x = _input()
    for module in (LeakyReLU([0.0, 0.2, 0.0]), LeakyReLU([0.0, -0.2, 0.5], gain=2.0, clamp=3.0, learnable=True)):
        ours, theirs = module(x), _run_onnx(_onnx(module, x), x)
        assert torch.equal(theirs.isnan(), ours.isnan())
        assert torch.equal(theirs.nan_to_num(), ours.nan_to_num())


def test_quantised_in_a_small_network() -> None:
    from torch.ao.quantization import quantize_dynamic

    torch.manual_seed(0)
    x = torch.randn(64, 8)
    for activation in (LeakyReLU(0.2), LeakyReLU(0.2).to_torch(), LeakyReLU([0.1] * 16, learnable=True).to_torch()):
        network = nn.Sequential(nn.Linear(8, 16), activation, nn.Linear(16, 4)).eval()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch.ao moves out of torch and says so
            quantised = quantize_dynamic(network, {nn.Linear}, dtype=torch.qint8)
        assert "DynamicQuantizedLinear" in repr(quantised)
        assert type(quantised[1]) is type(activation)
        assert (quantised(x) - network(x)).abs().max() < 0.05 * network(x).abs().max()


def test_ensembles_of_modules_with_their_own_slopes() -> None:
    from torch.func import functional_call, stack_module_state, vmap

    modules = [LeakyReLU([alpha] * 3, learnable=True) for alpha in (0.0, 0.1, -0.5, 1.5)]
    parameters, buffers = stack_module_state(modules)
    template = copy.deepcopy(modules[0]).to("meta")
    x = _input()
    stacked = vmap(lambda p, b: functional_call(template, (p, b), (x,)))(parameters, buffers)
    for one, module in zip(stacked, modules, strict=True):
        assert_same_bits(one, module(x))
