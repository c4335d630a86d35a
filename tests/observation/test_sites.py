"""Which sites a network has, what they compute, and which axis is a unit and which a sample."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from tests.observation import networks
from torch import Tensor, nn

import leaky
from leaky.errors import InputError
from leaky.record import BEYOND_HIGH, Record

N, T = 9, 4
TRANSFORMER = {"d_model": 8, "nhead": 2, "dim_feedforward": 16}


def seen(record: Record) -> list[tuple[str, str, int, int, int]]:
    return [(site.name.split(" (")[0], site.activation, site.units, site.samples, site.calls) for site in record.sites]


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 7), nn.ReLU(), nn.Linear(7, 8), nn.PReLU(8), nn.Linear(8, 3))


def short() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 7), nn.ReLU())


def cnn(dimensions: int) -> nn.Module:
    conv = getattr(nn, f"Conv{dimensions}d")
    return nn.Sequential(conv(3, 5, 2), nn.LeakyReLU(0.1), conv(5, 6, 2, groups=1), nn.ReLU6())


def transposed() -> nn.Module:
    return nn.Sequential(nn.ConvTranspose2d(4, 6, 3, groups=2), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3), nn.ReLU())


def encoder(batch_first: bool) -> nn.Module:
    return nn.TransformerEncoderLayer(**TRANSFORMER, batch_first=batch_first)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], Any, list[tuple[str, str, int, int, int]]]] = {
    "mlp": (mlp, torch.randn(N, 6), [("1", "ReLU", 7, N, 1), ("3", "PReLU", 8, N, 1)]),
    "mlp over time": (short, torch.randn(N, T, 6),
                      [("1", "ReLU", 7, N, 1)]),
    "cnn 1d": (lambda: cnn(1), torch.randn(N, 3, 5), [("1", "LeakyReLU", 5, N, 1), ("3", "ReLU6", 6, N, 1)]),
    "cnn 2d": (lambda: cnn(2), torch.randn(N, 3, 5, 5), [("1", "LeakyReLU", 5, N, 1), ("3", "ReLU6", 6, N, 1)]),
    "cnn 3d": (lambda: cnn(3), torch.randn(N, 3, 5, 5, 5), [("1", "LeakyReLU", 5, N, 1), ("3", "ReLU6", 6, N, 1)]),
    "one unbatched image": (lambda: cnn(2), [torch.randn(3, 5, 5)] * 2,
                            [("1", "LeakyReLU", 5, 2, 1), ("3", "ReLU6", 6, 2, 1)]),
    "one unbatched row": (short, [torch.randn(6)] * 3, [("1", "ReLU", 7, 3, 1)]),
    "resnet": (networks.ResNet, torch.randn(N, 3, 6, 6), [
        ("relu#1", "ReLU", 8, N, 1),
        ("blocks.0.act", "ReLU", 8, N, 1), ("blocks.0.act#2", "ReLU", 8, N, 1),
        ("blocks.1.act", "ReLU", 8, N, 1), ("blocks.1.act#2", "ReLU", 8, N, 1),
    ]),
    "every spelling": (networks.Functional, torch.randn(N, 6), [
        ("relu#1", "ReLU", 6, N, 1), ("relu#2", "ReLU", 6, N, 1), ("relu#3", "ReLU", 6, N, 1),
        ("leaky_relu#1", "LeakyReLU", 6, N, 1), ("clamp#1", "ReLU", 6, N, 1), ("clamp_min#1", "ReLU", 6, N, 1),
        ("maximum#1", "ReLU", 6, N, 1), ("maximum#2", "ReLU", 6, N, 1), ("threshold#1", "Threshold", 6, N, 1),
        ("relu6#1", "ReLU6", 6, N, 1), ("where#1", "LeakyReLU", 6, N, 1), ("maximum#3", "LeakyReLU", 6, N, 1),
    ]),
    "siamese": (networks.Siamese, [{"a": torch.randn(N, 6), "b": torch.randn(N, 6)}], [("tower.1", "ReLU", 7, N, 2)]),
    "a cell over time": (networks.Cell, torch.randn(N, T, 6), [("act", "ReLU", 7, N, T)]),
    "nn.RNN, batch first": (lambda: nn.RNN(6, 7, 2, nonlinearity="relu", batch_first=True), torch.randn(N, T, 6),
                            [("relu#1", "ReLU", 7, N, T), ("relu#2", "ReLU", 7, N, T)]),
    "nn.RNN, time first": (lambda: nn.RNN(6, 7, nonlinearity="relu"), torch.randn(T, N, 6),
                           [("relu#1", "ReLU", 7, N, T)]),
    "nn.RNN, unbatched": (lambda: nn.RNN(6, 7, nonlinearity="relu"), [torch.randn(T, 6)] * 2,
                          [("relu#1", "ReLU", 7, 2, T)]),
    "feed-forward (N,T,C)": (lambda: networks.FeedForward(True), torch.randn(N, T, 8), [("relu#1", "ReLU", 16, N, 1)]),
    "feed-forward (T,N,C)": (lambda: networks.FeedForward(False), torch.randn(T, N, 8), [("relu#1", "ReLU", 16, N, 1)]),
    "(N·T,C) reshapes": (networks.Folded, torch.randn(N, T, 6), [("relu#1", "ReLU", 7, N, 1)]),
    "transposed and grouped convolution": (transposed, torch.randn(N, 4, 3, 3),
                                           [("1", "ReLU", 6, N, 1), ("4", "ReLU", 3, N, 1)]),
    "concatenation": (networks.Concatenated, torch.randn(N, 3, 7), [("relu#1", "ReLU", 12, N, 1),
                                                                   ("relu#2", "ReLU", 12, N, 1)]),
    "scripted part": (networks.Scripted, torch.randn(N, 6), [("part.relu#1", "ReLU", 7, N, 1),
                                                            ("part.relu#2", "ReLU", 8, N, 1)]),
    "swishes": (networks.Swishes, torch.randn(N, 6), [
        ("mul#1", "Hardswish", 6, N, 1), ("mul#2", "Hardswish", 6, N, 1), ("mul#3", "Hardswish", 6, N, 1),
        ("mul#4", "SiLU", 6, N, 1), ("gelu#1", "GELU", 6, N, 1),
    ]),
}  # fmt: skip


@pytest.mark.parametrize("case", NETWORKS, ids=str)
def test_sites_units_and_samples(case: str) -> None:
    torch.manual_seed(0)
    build, data, expected = NETWORKS[case]
    model = build()
    if case.startswith("transposed"):
        model(data)
    batches = [data] if isinstance(data, Tensor) else data
    record = leaky.observe(model, batches)
    assert seen(record) == expected
    assert record.not_examined == ()


SPELLINGS: dict[str, tuple[Callable[[Tensor], Tensor], tuple[str, float, float | None]]] = {
    "maximum with zeros_like": (lambda z: torch.maximum(z, torch.zeros_like(z)), ("ReLU", 0.0, None)),
    "fmax with zeros_like": (lambda z: torch.fmax(torch.zeros_like(z), z), ("ReLU", 0.0, None)),
    "where above": (lambda z: torch.where(z > 0, z, torch.zeros_like(z)), ("ReLU", 0.0, None)),
    "where above, a number": (lambda z: torch.where(z > 0, z, 0.0), ("ReLU", 0.0, None)),
    "where below": (lambda z: torch.where(z < 0, torch.zeros_like(z), z), ("ReLU", 0.0, None)),
    "leaky where below": (lambda z: torch.where(z <= 0, 0.25 * z, z), ("LeakyReLU", 0.25, None)),
    "masked fill": (lambda z: z.masked_fill(z < 0, 0.0), ("ReLU", 0.0, None)),
    "times its own mask": (lambda z: z * (z > 0), ("ReLU", 0.0, None)),
    "clamp at integers": (lambda z: z.clamp(0, 6), ("ReLU6", 0.0, 6.0)),
    "clamp at another cap": (lambda z: z.clamp(0, 4), ("Hardtanh", 0.0, 4.0)),
}  # fmt: skip


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_figure_of_a_rectifier_however_it_is_spelled(spelling: str) -> None:
    torch.manual_seed(0)
    rectify, (activation, slope, cap) = SPELLINGS[spelling]

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(6, 7)

        def forward(self, x: Tensor) -> Tensor:
            return rectify(self.inner(x))

    model, data = Net(), 10 * torch.randn(50, 6)
    (site,) = leaky.observe(model, data).sites
    assert (site.activation, float(site.negative_slope[0])) == (activation, slope)
    z = model.inner(data).detach()
    assert site.statistics.fired.tolist() == (z > 0).sum(0).tolist()
    beyond = (z > cap).sum(0).tolist() if cap is not None else [0] * 7
    assert site.statistics.counts[BEYOND_HIGH].tolist() == beyond
    y = rectify(z).double()
    np.testing.assert_allclose(site.output_moments().mean, y.mean(0), 1e-6)
    np.testing.assert_allclose(site.output_moments().second_moment, y.square().mean(0), 1e-6)


@pytest.mark.parametrize("case", ["mlp", "cnn 2d", "resnet", "nn.RNN, time first", "feed-forward (T,N,C)"])
def test_an_array_is_cut_into_batches_along_its_sample_axis(case: str) -> None:
    build, data, expected = NETWORKS[case]
    assert seen(leaky.observe(build(), data.numpy(), batch_size=2)) == expected


def test_one_activation_behind_many_layers_makes_as_many_sites() -> None:
    record = leaky.observe(networks.Shared(33), torch.randn(N, 6))
    assert [site.name for site in record.sites] == ["act", *(f"act#{i}" for i in range(2, 34))]
    assert [site.producers[0].name for site in record.sites] == [f"layers.{i}.weight" for i in range(33)]


def test_the_final_rectifier_is_marked_and_logits_are_no_site() -> None:
    ends = nn.Sequential(nn.Linear(6, 7), nn.ReLU(), nn.Linear(7, 3), nn.ReLU())
    assert [site.is_output for site in leaky.observe(ends, torch.randn(N, 6)).sites] == [False, True]
    assert [site.is_output for site in leaky.observe(mlp(), torch.randn(N, 6)).sites] == [False, False]


def test_functional_sites_name_their_line() -> None:
    site = leaky.observe(networks.ResNet(), torch.randn(N, 3, 6, 6)).sites[0]
    assert site.source is not None
    assert site.source.startswith("networks.py:")
    assert site.name == f"relu#1 ({site.source})"


@pytest.mark.parametrize("batch_first", [True, False])
def test_transformer_layer_on_the_slow_path(batch_first: bool) -> None:
    model = encoder(batch_first)
    record = leaky.observe(model, [torch.randn(N, T, 8) if batch_first else torch.randn(T, N, 8)], mode="train")
    assert [(site.units, site.samples) for site in record.sites] == [(16, N)]


def test_a_fused_encoder_is_opened_while_it_is_observed_and_fused_again_after() -> None:
    model, data = encoder(True).eval(), torch.randn(N, T, 8)
    with torch.no_grad():
        model.linear1.bias[3] = -50.0
    padding = (torch.arange(T) >= T - 2).expand(N, T)
    for batches in ([data], [{"src": data, "src_key_padding_mask": padding}]):
        record = leaky.observe(model, batches)
        assert [(site.name, site.units, site.samples) for site in record.sites] == [("relu#1", 16, N)]
        assert record.sites[0].statistics.fired[3] == 0
        assert torch.backends.mha.get_fastpath_enabled()


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_an_encoder_that_takes_nested_tensors_in_its_fused_form_alone_is_listed() -> None:
    """Torch's attention takes them in no other form: they end in an error of its own where that is off."""
    nested = torch.nested.nested_tensor([torch.randn(n, 8) for n in (3, 5, 2)])
    record = leaky.observe(encoder(True).eval(), [nested, nested])
    assert record.samples == 6
    assert ["padded" in item.reason for item in record.not_examined] == [True]
    assert torch.backends.mha.get_fastpath_enabled()


def test_the_axis_of_the_samples_alone_holds_no_units_whatever_the_user_says_of_all_sites() -> None:
    class Squeezed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.head = nn.Linear(6, 5), nn.Linear(5, 1)

        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(self.head(torch.relu(self.layer(x))).squeeze(-1))

    for dim in (1, -1, 0):
        record = leaky.observe(Squeezed(), torch.randn(N, 6), unit_dim=dim)
        assert (record.sites[-1].units, record.sites[-1].samples) == (1, N)


def test_an_unresolved_axis_is_listed_and_unit_dim_resolves_it() -> None:
    model = nn.Sequential(nn.ReLU())
    data = torch.randn(N, T, 6)
    record = leaky.observe(model, data)
    assert record.sites == ()
    assert "unit axis" in record.not_examined[0].reason
    assert seen(leaky.observe(model, data, unit_dim=2)) == [("0", "ReLU", 6, N, 1)]
    assert seen(leaky.observe(model, data, unit_dim=-1, sample_dim=1)) == [("0", "ReLU", 6, T, 1)]


def test_arithmetic_on_the_input_is_no_site() -> None:
    """A clamp in front of all weights has no units that could have learned; behind a weight it has."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(6, 7)

        def forward(self, x: Tensor) -> Tensor:
            x = (-x.abs()).clamp(min=0) + torch.maximum(x, torch.zeros(6))
            return self.inner(x).clamp(min=0)

    record = leaky.observe(Net(), torch.randn(N, 6))
    assert seen(record) == [("clamp#1", "ReLU", 7, N, 1)]
    assert record.not_examined == ()


def test_scores_between_units_are_units_of_neither() -> None:
    class Scores(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(6, 16)

        def forward(self, x: Tensor) -> Tensor:
            q = self.inner(x).view(-1, 4, 4)
            return torch.relu(q @ q.transpose(1, 2))

    record = leaky.observe(Scores(), torch.randn(N, 6))
    assert (record.sites, len(record.not_examined)) == ((), 1)


def test_a_spelled_out_swish_has_the_outputs_of_the_swish() -> None:
    torch.manual_seed(0)
    model, data = networks.Swishes(), torch.randn(50, 6)
    plain = nn.Sequential(model.layers[0], nn.Hardswish(), model.layers[1], nn.Hardswish(), model.layers[2],
                          nn.Hardswish(), model.layers[3], nn.SiLU(), model.layers[4], nn.GELU())  # fmt: skip
    for spelled, exact in zip(leaky.observe(model, data).sites, leaky.observe(plain, data).sites, strict=True):
        assert (spelled.activation, spelled.threshold) == (exact.activation, exact.threshold)
        np.testing.assert_allclose(spelled.output_moments().second_moment, exact.output_moments().second_moment, 1e-5)


def test_a_custom_operator_is_listed() -> None:
    @torch.library.custom_op("leaky_test::act", mutates_args=())
    def act(x: Tensor) -> Tensor:
        return x.clamp(min=0)

    class Custom(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(6, 7)

        def forward(self, x: Tensor) -> Tensor:
            return act(self.inner(x))

    record = leaky.observe(Custom(), torch.randn(N, 6))
    assert ["leaky_test::act" in item.reason for item in record.not_examined] == [True]


def test_a_compiled_part_is_seen_and_said_to_have_run_uncompiled() -> None:
    model = torch.compile(mlp(), backend="eager")
    model(torch.randn(N, 6))
    record = leaky.observe(model, torch.randn(N, 6))
    assert [site.units for site in record.sites] == [7, 8]
    assert any("uncompiled" in note for note in record.notes)


def test_slopes_are_read_a_channel() -> None:
    model = mlp()
    model[3].weight.data = torch.tensor([-1.28, 1.01, 0.0, 0.25, -0.5, 0.1, 0.2, 0.3])
    site = leaky.observe(model, torch.randn(N, 6)).sites[1]
    assert site.negative_slope.tolist() == model[3].weight.double().tolist()


@pytest.mark.parametrize(("clamp", "gain", "slope"), [(2.0, 1.5, 0.2), (None, 2.0, 0.01), (1.0, 1.0, 0.0)])
def test_leakys_own_bounds_are_known(clamp: float | None, gain: float, slope: float) -> None:
    model = nn.Sequential(nn.Linear(6, 7), leaky.LeakyReLU(slope, gain=gain, clamp=clamp))
    site = leaky.observe(model, torch.randn(N, 6)).sites[0]
    assert (site.name, site.gain, site.is_output) == ("1", gain, True)
    assert (site.cap is None) == (clamp is None)
    if clamp is not None and site.cap is not None:
        assert site.cap.tolist() == [clamp / gain] * 7
        assert site.floor is None if slope == 0 else site.floor.tolist() == [-clamp / gain / slope] * 7  # type: ignore[union-attr]


@pytest.mark.parametrize("slope", [-0.3, 0.0, 0.01, 2.0])
@pytest.mark.parametrize("inplace", [False, True])
def test_leakys_own_module_is_one_site(slope: float, inplace: bool) -> None:
    model = nn.Sequential(nn.Linear(6, 7), leaky.LeakyReLU(slope, inplace=inplace))
    assert [
        (s.name, float(s.negative_slope[0]), s.is_output) for s in leaky.observe(model, torch.randn(N, 6)).sites
    ] == [("1", slope, True)]


def test_samples_of_a_time_first_model_are_explained() -> None:
    record = leaky.observe(nn.RNN(6, 7, nonlinearity="relu"), [torch.randn(T, N, 6)])
    assert record.samples == N
    assert any("axis 1" in note and "nn.RNN" in note for note in record.notes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "test"}, "mode must be 'eval' or 'train', not 'test'"),
        ({"max_samples": 0}, "max_samples must be at least 1"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"sample_dim": "first"}, "sample_dim must be"),
        ({"device": "nowhere"}, "device 'nowhere' must be usable"),
        ({"loss": lambda output, batch: 1.0}, "loss must return a tensor, not float"),
        ({"loss": lambda output, batch: output.detach().sum()}, "loss must depend on a parameter"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_options_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        leaky.observe(mlp(), torch.randn(N, 6), **options)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "at least one sample"),
        (torch.zeros(0, 6), "at least one sample"),
        (3, "not int"),
        ("digits", "not str"),
        ([("a", "b")], "not tuple of str, str"),
        (torch.tensor(1.0), "a sample axis"),
    ],
    ids=["nothing", "no rows", "a number", "a word", "words", "0-d"],
)
def test_data_that_cannot_be(data: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        leaky.observe(mlp(), data)


def test_a_model_that_cannot_be() -> None:
    with pytest.raises(InputError, match="not list"):
        leaky.observe([], torch.randn(N, 6))
    with pytest.raises(InputError, match="lazy layers"):
        leaky.observe(nn.LazyLinear(3), torch.randn(N, 6))


def test_what_cannot_be_examined_is_listed_once_whatever_its_lengths() -> None:
    class Norms(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(x.norm(dim=1) - 1)

    record = leaky.observe(Norms(), [torch.randn(3 + i, 4) for i in range(4)])
    assert [item.reason for item in record.not_examined] == [
        "its unit axis could not be told from a 1-D tensor; pass unit_dim to name it"
    ]


def test_a_loss_is_a_function() -> None:
    with pytest.raises(InputError, match="loss must be a function of the output and the batch, not str"):
        leaky.observe(short(), torch.randn(N, 6), loss="mse")  # type: ignore[arg-type]
