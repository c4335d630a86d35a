"""How the arrays of `UnitStatistics` are called in JSON: the one table that writing and reading share."""

REGIONAL = (("count", "counts"), ("sum", "sums"), ("sum_of_squares", "squares"))
"""(prefix in JSON, attribute of UnitStatistics) of the (4, units) arrays; "sum_below" is Σz below the threshold."""
GRADIENTS = (("gradient_absolute_sum", "absolute_sums"), ("gradient_sum_of_squares", "squares"))
"""(prefix in JSON, attribute of GradientStatistics), each (4, units)."""
OUTPUTS = (
    ("output_sum", "output_sums"),
    ("output_absolute_sum", "output_absolute_sums"),
    ("output_sum_of_squares", "output_squares"),
)
"""(key in JSON, attribute of UnitStatistics) of the smooth activations' output sums."""
