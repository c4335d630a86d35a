"""Initialisation by the slope that really follows, held against simulated signals in every kind of layer."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 — the field's name for it
from tests.observation import architectures, networks
from torch import Tensor, nn

from leaky import theory
from leaky.errors import InputError
from leaky.repairing.initialization import initialize


def test_each_layer_gets_the_gain_of_what_follows_it() -> None:
    model = nn.Sequential(
        nn.Linear(6, 8),
        nn.LeakyReLU(0.2),
        nn.Linear(8, 8),
        nn.PReLU(8, 0.5),
        nn.Linear(8, 8),
        nn.ReLU(),
        nn.Linear(8, 3),
    )
    done = initialize(model)
    assert [layer.negative_slope for layer in done.layers] == [0.2, 0.5, 0.0, None]
    assert [layer.activation for layer in done.layers] == ["LeakyReLU", "PReLU", "ReLU", None]
    gains = [theory.gain(0.2), theory.gain(0.5), theory.gain(0.0), 1.0]
    assert [layer.gain for layer in done.layers] == pytest.approx(gains)
    assert [layer.standard_deviation for layer in done.layers] == pytest.approx(
        [gain / math.sqrt(fan) for gain, fan in zip(gains, (6, 8, 8, 8), strict=True)]
    )
    assert all(not layer.bias.any() for layer in model if isinstance(layer, nn.Linear))


def test_functional_calls_and_shared_modules_count_like_modules() -> None:
    slopes = [layer.negative_slope for layer in initialize(networks.Functional()).layers]
    assert slopes == pytest.approx([0, 0, 0, 0.2, 0, 0, 0, 0, 0, 0, 0.3, 0.1])
    shared = initialize(networks.Shared(5))
    assert [layer.negative_slope for layer in shared.layers] == [0.2] * 5


def test_a_slope_that_the_model_does_not_have_yet() -> None:
    done = initialize(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)), negative_slope=0.3)
    assert [layer.gain for layer in done.layers] == pytest.approx([theory.gain(0.3), 1.0])


def test_a_smooth_activation_has_the_gain_of_its_second_moment() -> None:
    done = initialize(nn.Sequential(nn.Linear(6, 8), nn.GELU()))
    z = torch.randn(1_000_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert done.layers[0].gain == pytest.approx(float(F.gelu(z).square().mean() ** -0.5), rel=5e-3)


KINDS = {
    "linear": (nn.Linear(256, 256), (64, 256)),
    "convolution": (nn.Conv2d(32, 64, 3, padding=1, padding_mode="circular"), (4, 32, 12, 12)),
    "grouped convolution": (nn.Conv2d(64, 64, 3, padding=1, padding_mode="circular", groups=4), (4, 64, 12, 12)),
    "strided convolution": (nn.Conv2d(64, 64, 4, stride=2, padding=1, padding_mode="circular"), (4, 64, 16, 16)),
    "transposed convolution": (nn.ConvTranspose2d(64, 64, 4, stride=2), (4, 64, 16, 16)),
    "grouped transposed convolution": (nn.ConvTranspose2d(64, 64, 4, stride=2, groups=2), (4, 64, 16, 16)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_fan_in_keeps_the_second_moment_of_activations(kind: str) -> None:
    """Var z = gain²·E[x²]; the edges of a transposed convolution sum less, so that only the middle is looked at."""
    layer, shape = KINDS[kind]
    done = initialize(nn.Sequential(layer, nn.LeakyReLU(0.3)), torch.randn(shape), seed=1)
    z = layer(torch.randn(shape, generator=torch.Generator().manual_seed(2))).detach()
    middle = z[..., 4:-4, 4:-4] if "transposed" in kind else z
    assert float(middle.square().mean()) == pytest.approx(done.layers[0].gain ** 2, rel=0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_fan_out_keeps_the_second_moment_of_gradients(kind: str) -> None:
    layer, shape = KINDS[kind]
    done = initialize(nn.Sequential(layer, nn.LeakyReLU(0.3)), torch.randn(shape), mode="fan_out", seed=1)
    x = torch.randn(shape, requires_grad=True)
    z = layer(x)
    z.backward(torch.randn(z.shape, generator=torch.Generator().manual_seed(2)))
    gradient = x.grad
    assert gradient is not None
    assert float(gradient.square().mean()) == pytest.approx(done.layers[0].gain ** 2, rel=0.1)


@pytest.mark.parametrize("alpha", [0.0, 0.2, 0.6])
def test_thirty_layers_keep_the_range(alpha: float) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(*(part for _ in range(30) for part in (nn.Linear(512, 512), nn.LeakyReLU(alpha))))
    initialize(model, seed=0)
    output = model(torch.randn(64, 512))
    assert 0.2 < float(output.detach().square().mean()) < 5.0


@pytest.mark.parametrize("kind", KINDS)
def test_orthogonal_weights_have_the_same_variance(kind: str) -> None:
    layer, shape = KINDS[kind]
    done = initialize(nn.Sequential(layer, nn.ReLU()), torch.randn(shape), orthogonal=True, seed=1)
    weight, groups = layer.weight.detach(), getattr(layer, "groups", 1)  # type: ignore[union-attr]
    assert float(weight.square().mean().sqrt()) == pytest.approx(done.layers[0].standard_deviation, rel=1e-5)
    for block in weight.chunk(groups):
        rows = block.flatten(1) if len(block) <= block[0].numel() else block.flatten(1).T
        products = rows @ rows.T
        torch.testing.assert_close(products, products[0, 0] * torch.eye(len(rows)), rtol=0, atol=1e-4)


def test_in_a_network_deeper_than_wide_orthogonal_weights_keep_the_size() -> None:
    def sizes(orthogonal: bool) -> list[float]:
        found = []
        for seed in range(20):
            model = nn.Sequential(*(part for _ in range(60) for part in (nn.Linear(24, 24), nn.LeakyReLU(0.5))))
            initialize(model, orthogonal=orthogonal, seed=seed)
            x = torch.randn(64, 24, generator=torch.Generator().manual_seed(seed))
            found.append(math.log(float(model(x).detach().square().mean())))
        return found

    independent, even = torch.tensor(sizes(False)), torch.tensor(sizes(True))
    assert float(even.std()) < 0.7 * float(independent.std())


class Blocks(nn.Module):
    """Residual blocks without normalisation."""

    def __init__(self, depth: int, width: int, norm: bool = False) -> None:
        super().__init__()
        self.first = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.second = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.norms = nn.ModuleList(nn.LayerNorm(width) if norm else nn.Identity() for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        for first, second, norm in zip(self.first, self.second, self.norms, strict=True):
            x = x + norm(second(F.relu(first(x))))
        return x


def test_a_residual_stream_does_not_grow_with_depth() -> None:
    torch.manual_seed(0)
    model = Blocks(40, 256)
    done = initialize(model, seed=3)
    assert done.residual_scale == pytest.approx(1 / math.sqrt(40))
    assert 1.5 < float(model(torch.randn(32, 256)).detach().square().mean()) < 4.5  # (1 + 1/40)^40 = 2.7


def test_the_norm_at_the_end_of_a_branch_takes_the_residual_scale() -> None:
    model = Blocks(4, 16, norm=True)
    done = initialize(model)
    assert done.residual_scale == 0.5
    assert all(torch.equal(norm.weight, torch.full((16,), 0.5)) for norm in model.norms)  # type: ignore[arg-type]
    assert {layer.gain for layer in done.layers} == {math.sqrt(2.0), 1.0}


def test_projections_count_as_shortcuts() -> None:
    class Projected(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 1, 1), nn.Conv2d(3, 8, 1, 2)

        def forward(self, x: Tensor) -> Tensor:
            return F.relu(self.b(F.relu(self.a(x))) + self.c(x))

    done = initialize(Projected(), torch.randn(2, 3, 8, 8))
    assert [layer.weight for layer in done.layers] == ["a.weight", "b.weight", "c.weight"]
    assert done.residual_scale == 1.0  # the only one: 1/√1


def test_what_has_an_initialisation_of_its_own_is_left_alone_and_listed() -> None:
    model = architectures.Recurrent(nn.LSTM)
    before = {name: value.clone() for name, value in model.state_dict().items() if name.startswith("r.")}
    done = initialize(model, torch.randn(2, 4, 6))
    assert [layer.weight for layer in done.layers] == ["l.weight"]
    assert {name for name, _ in done.left_alone} == {name for name in before if "weight" in name}
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())
    attention = initialize(networks.FeedForward(True), torch.randn(2, 5, 8))
    assert {name for name, _ in attention.left_alone} == {"attention.in_proj_weight", "attention.out_proj.weight"}
    assert attention.residual_scale == pytest.approx(math.sqrt(0.5))


def test_a_weight_that_is_computed_from_parameters_is_left_alone() -> None:
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.utils.parametrizations.weight_norm(nn.Linear(8, 8)))
    done = initialize(model)
    assert [layer.weight for layer in done.layers] == ["0.weight"]
    assert {name for name, _ in done.left_alone} == {
        "2.parametrizations.weight.original0",
        "2.parametrizations.weight.original1",
    }


def test_inputs_are_guessed_from_the_first_layer_until_the_shapes_fit() -> None:
    image = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 26 * 26, 10))
    assert len(initialize(image).layers) == 2
    with pytest.raises(InputError, match="data must be given for a"):
        initialize(nn.Bilinear(3, 4, 5))


def test_the_seed_decides_the_weights_and_leaves_the_generator_alone() -> None:
    first, second = nn.Linear(6, 8), nn.Linear(6, 8)
    torch.manual_seed(5)
    initialize(first, seed=1)
    drawn = torch.rand(3)
    initialize(second, seed=1)
    torch.manual_seed(5)
    assert torch.equal(first.weight, second.weight)
    assert torch.equal(drawn, torch.rand(3))


def test_parameters_stay_the_optimizers() -> None:
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    before = [id(p) for p in model.parameters()]
    initialize(model)
    assert [id(p) for p in model.parameters()] == before


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(InputError, match="fan_in, fan_out, not 'fan'"):
        initialize(nn.Linear(3, 3), mode="fan")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="linear or convolutional layer"):
        initialize(nn.Sequential(nn.ReLU()), torch.randn(2, 3))


class Attending(nn.Module):
    """Attention of the user's own, an embedding that is the last layer too, and a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(20, 8, padding_idx=0)
        self.query, self.key, self.value = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.first, self.act = nn.Linear(8, 16), nn.ReLU()
        self.own = nn.Parameter(torch.randn(8, 16))
        self.last = nn.Linear(8, 20, bias=False)
        self.last.weight = self.table.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        h = self.table(tokens)
        scores = (self.query(h) @ self.key(h).transpose(1, 2) / 8**0.5).softmax(-1)
        h = self.act(self.first(scores @ self.value(h)))
        return self.last(nn.functional.linear(h, self.own))  # type: ignore[no-any-return]


def test_attention_embeddings_tied_frozen_and_own_parameters_are_left_alone_unless_asked() -> None:
    torch.manual_seed(0)
    model, tokens = Attending(), torch.randint(1, 20, (4, 5))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    done = initialize(model, tokens)
    reasons = dict(done.left_alone)
    assert [layer.weight for layer in done.layers] == ["first.weight"]
    assert "attention's" in reasons["query.weight"]
    assert "attention's" in reasons["key.weight"]
    assert reasons["table.weight"] == "it is an embedding"
    assert reasons["own"] == "it is a parameter of a Attending's own"
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]) == (not name.startswith("first"))
    assert not model.table.weight[0].any()
    done = initialize(model, tokens, include=["own"])
    assert [layer.weight for layer in done.layers] == ["first.weight", "own"]
    model.first.requires_grad_(False)
    assert dict(initialize(model, tokens, include=["own"]).left_alone)["first.weight"] == "it is frozen"
    tied = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 2))
    tied[2].weight = tied[0].weight
    assert "tied: 0.weight and 2.weight are one" in dict(initialize(tied).left_alone)["0.weight"]


def test_what_was_done_is_a_table() -> None:
    model = nn.Sequential(nn.Linear(6, 8), nn.LeakyReLU(0.2), nn.Linear(8, 3))
    lines = str(initialize(model, seed=0)).splitlines()
    assert lines[0] == "2 weights drawn anew (orthogonal), biases 0:"
    assert lines[1].split() == ["weight", "followed", "by", "slope", "gain", "fan", "deviation"]
    assert lines[2].split() == ["0.weight", "LeakyReLU", "0.2", "1.3868", "6", "0.5661"]
    assert lines[3].split() == ["2.weight", "–", "–", "1.0000", "8", "0.3536"]
