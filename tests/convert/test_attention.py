"""Attention in other operations: the same function, and what no form can stand for is named or left."""

import keras
import numpy as np
import pytest

from alledge.convert.attention import with_attention
from alledge.convert.cpu_attention import LookupAttention
from alledge.convert.edge_attention import ReplicatedAttention, TableAttention
from alledge.convert.edge_tokens import TokenAttention
from alledge.convert.trained import open_trained, predict, tensors
from alledge.errors import DataError
from alledge.quiet import quiet


@pytest.mark.parametrize("form", [LookupAttention, TableAttention, ReplicatedAttention, TokenAttention])
def test_every_form_equals_keras_attention_in_float(trained_run, form):
    with quiet():
        trained = open_trained(trained_run)
        expected = predict(trained, trained.held_out).probs[::13]
        model = with_attention(trained.model, form)
        tiles = tensors(trained.held_out.pixels[::13], trained.record.preprocessing)
        received = np.concatenate([np.asarray(model(tile)["probs"]) for tile in tiles])
    assert not _attention(model)
    assert np.abs(received - expected).max() <= 1e-4


def test_values_of_another_width_are_for_a_cpu_only():
    tokens = keras.Input((16, 8))
    wide = keras.Model(tokens, keras.layers.MultiHeadAttention(2, 4, value_dim=6, name="wide")(tokens, tokens))
    with pytest.raises(DataError, match=r"layer 'wide': expected values as wide as keys \(4\), received 6"):
        with_attention(wide, TableAttention)
    field = np.random.default_rng(0).normal(size=(1, 16, 8)).astype(np.float32)
    np.testing.assert_allclose(with_attention(wide, LookupAttention)(field), wide(field), atol=1e-5)


def test_attention_to_other_tokens_is_named_or_stays_as_keras_writes_it():
    one, other = keras.Input((16, 8)), keras.Input((4, 8))
    model = keras.Model([one, other], keras.layers.MultiHeadAttention(2, 4, name="crossed")(one, other))
    with pytest.raises(DataError, match="layer 'crossed': only plain self-attention"):
        with_attention(model, TableAttention)
    assert _attention(with_attention(model, LookupAttention, leave_others=True)) == ["crossed"]


def _attention(model: keras.Model) -> list[str]:
    return [layer.name for layer in model.layers if isinstance(layer, keras.layers.MultiHeadAttention)]
