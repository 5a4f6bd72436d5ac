"""Frames of made-up similarities and overlaps, as the readers give them."""

import numpy as np
import pandas as pd

from ia2.results.label import style_of


def heat_maps(methods: tuple[str, ...], num_layers: int = 30, num_tokens: int = 8) -> pd.DataFrame:
    """Similarities that rise with the layer; the last token of the first method was never measured."""
    rows = []
    for place, method in enumerate(methods):
        for layer in range(num_layers):
            for token in range(num_tokens - (place == 0)):
                cosine = 0.4 + 0.1 * place / len(methods) + 0.5 * layer / num_layers - 0.02 * token
                rows.append({"name": style_of(method).label, "layer": layer, "token": token, "cosine": cosine})
    return pd.DataFrame(rows)


def layers(methods: tuple[str, ...], num_layers: int = 30) -> pd.DataFrame:
    rows = []
    for place, method in enumerate(methods):
        for layer in range(num_layers):
            cosine = 0.3 + 0.03 * place + 0.4 * layer / num_layers
            style = {"name": style_of(method).label, "method": method, "with_icl": False, "variation": 0}
            rows.append({**style, "layer": layer, "cosine": cosine, "low": cosine - 0.05, "high": cosine + 0.05})
    return pd.DataFrame(rows)


def pairs(methods: tuple[str, ...], datasets: tuple[str, ...] = ("capitals",), num_runs: int = 5) -> pd.DataFrame:
    generator = np.random.default_rng(0)
    rows = []
    for dataset in datasets:
        for place, method in enumerate(methods):
            for _ in range(num_runs):
                similarity = 0.5 + 0.06 * place + generator.normal(0, 0.03)
                accuracy = 100 * similarity - 5 + generator.normal(0, 4)
                style = {"name": style_of(method).label, "method": method, "with_icl": False, "variation": 0}
                numbers = {"similarity": similarity, "accuracy": accuracy, "ece_equal_count": 0.6 - 0.5 * similarity}
                rows.append({"dataset": dataset, **style, **numbers})
    return pd.DataFrame(rows)


def overlaps(methods: tuple[str, ...], num_layers: int = 6, num_runs: int = 2) -> pd.DataFrame:
    """Every pair of methods in each run, and the control; greater in deeper layers."""
    generator = np.random.default_rng(0)
    compared = [(a, b, "methods") for place, a in enumerate(methods) for b in methods[place + 1 :]]
    compared += [(method, method, "runs") for method in methods]
    rows = []
    for number, (a, b, relation) in enumerate(compared):
        for run in range(num_runs if relation == "methods" else 1):
            for layer in range(num_layers):
                for projection, chance in (("q_proj", 8 / 576), ("k_proj", 8 / 192), ("self_attn.v_proj", 8 / 192)):
                    overlap = float(np.clip(0.05 + 0.04 * number + 0.01 * layer + generator.normal(0, 0.02), 0, 1))
                    rows.append(
                        {
                            **{"name": f"{a} – {b}", "relation": relation, "run_a": f"{a}{run}", "run_b": f"{b}{run}"},
                            **{"layer": layer, "projection": projection, "left_overlap": overlap},
                            **{"right_overlap": overlap / 2, "left_energy_overlap": 1.2 * overlap},
                            **{"right_energy_overlap": 0.7 * overlap, "chance_left": chance, "chance_right": 8 / 576},
                            **{"chance_left_energy": 1.1 * chance, "chance_right_energy": 0.02},
                        }
                    )
    return pd.DataFrame(rows)
